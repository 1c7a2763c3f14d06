import { randomOf } from '../sizing/random.ts'

/** What handlers answer in a scenario. */
export interface Workload {
  /** About how many bytes of JSON. */
  readonly size: number
  /** How many milliseconds a handler takes. */
  readonly delay?: number
  /** What handlers say about caching. */
  readonly cacheControl?: string
  /** Where the Redis of the scenario is. */
  readonly redisPort?: number
  /** How much our memory may hold, where that is not the default. */
  readonly maxSize?: string
}

interface Item {
  readonly id: string
  readonly products: readonly object[]
}

const WORDS = 'teapot kettle saucer spoon porcelain copper hand made blue white small large with lid and handle'.split(
  ' ',
)

/** Where answers come from: the data of all handlers of a process, and how often one ran. */
export class Origin {
  runs = 0
  readonly work: Workload
  readonly #products: readonly object[]

  constructor(work: Workload) {
    this.work = work
    this.#products = productsOf(work.size)
  }

  /** What a handler that runs answers. */
  run(id: string): Item {
    this.runs += 1
    return this.item(id)
  }

  item(id: string): Item {
    return { id, products: this.#products }
  }

  /** The answer for one id, made beforehand. */
  body(id: string): Buffer {
    return Buffer.from(JSON.stringify(this.item(id)))
  }
}

/** Products whose JSON has about so many bytes, the same ones each time. */
function productsOf(size: number): object[] {
  const random = randomOf(1)
  const words = (count: number) => Array.from({ length: count }, () => WORDS[Math.floor(random() * WORDS.length)])
  const products: object[] = []
  let left = size - '{"id":"1","products":[]}'.length
  for (let sku = 1; left > 60; sku += 1) {
    const product = { sku, price: Math.floor(random() * 10_000) / 100, name: words(4).join(' '), text: '' }
    const rest = left - JSON.stringify(product).length - 1
    product.text = words(20).join(' ').slice(0, Math.max(0, rest))
    products.push(product)
    left -= JSON.stringify(product).length + 1
  }
  return products
}
