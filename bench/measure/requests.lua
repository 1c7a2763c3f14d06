-- What wrk asks for: `one` path, `uniform` or `zipf` over many, or a `new` one each time; how many there are; a word that is new in each round; a seed; the method.

local kind, count, word, paths, picks = nil, 1, '', {}, {}
local asked = 0

local function zipf(total, draws)
  local sums, sum = {}, 0
  for rank = 1, total do
    sum = sum + 1 / rank
    sums[rank] = sum
  end
  for draw = 1, draws do
    local at, low, high = math.random() * sum, 1, total
    while low < high do
      local middle = math.floor((low + high) / 2)
      if sums[middle] < at then low = middle + 1 else high = middle end
    end
    picks[draw] = low
  end
end

function init(args)
  kind, count, word = args[1], tonumber(args[2]), args[3]
  math.randomseed(tonumber(args[4]))
  wrk.method = args[5]
  for id = 1, count do paths[id] = wrk.format(nil, '/items/' .. id) end
  if kind == 'zipf' then zipf(count, 100000) end
end

function request()
  if kind == 'one' then return paths[1] end
  if kind == 'uniform' then return paths[math.random(count)] end
  if kind == 'zipf' then return paths[picks[math.random(#picks)]] end
  asked = asked + 1
  return wrk.format(nil, '/items/' .. word .. asked)
end
