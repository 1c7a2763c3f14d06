/** One message of server-sent events. */
export interface Message {
  readonly id: string
  readonly event: string
  readonly data: string
}

// A message is a second of numbers; what is longer is none of ours.
const LONGEST_MESSAGE = 16 * 1024 * 1024

/** The messages of a body of server-sent events. */
export async function* messagesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<Message> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true })
    const blocks = rest.split('\n\n')
    rest = blocks.pop()!
    if (rest.length > LONGEST_MESSAGE) throw new Error('It sends something without an end.')
    for (const block of blocks) yield read(block)
  }
}

function read(block: string): Message {
  const fields = new Map<string, string>()
  for (const line of block.split('\n')) {
    const [, name = '', value = ''] = /^(\w+): ?(.*)$/.exec(line) ?? []
    fields.set(name, fields.has(name) ? `${fields.get(name)}\n${value}` : value)
  }
  return { id: fields.get('id') ?? '', event: fields.get('event') ?? '', data: fields.get('data') ?? '' }
}
