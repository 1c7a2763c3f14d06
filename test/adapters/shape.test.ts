import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { settleShape } from '../../src/adapters/express-shape.ts'
import { ask, listen } from '../support/http.ts'

function propertiesOf(holder: object) {
  return Object.getOwnPropertyDescriptors(holder)
}

it('changes nothing that can be seen of a request and its response', () => {
  const req = new IncomingMessage(new Socket())
  const res = new ServerResponse(req)
  const before = [propertiesOf(req), propertiesOf(res)]
  settleShape(req, res)
  expect([propertiesOf(req), propertiesOf(res)]).toEqual(before)
})

it('leaves alone what has no such properties, or has them fixed', () => {
  const [req, res] = [Object.freeze({ upgrade: false }), { statusCode: 200 }] as never[]
  settleShape(req!, res!)
  expect([req, res]).toEqual([{ upgrade: false }, { statusCode: 200 }])
})

it('lets the response be answered as any other', async () => {
  const { url } = await listen((req, res) => {
    settleShape(req, res)
    res.setHeader('X-Is', 'here').end('whole')
  })
  const { headers, text } = await ask(url)
  expect(headers).toMatchObject({ 'x-is': 'here', date: expect.any(String), 'content-length': '5' })
  expect(text).toBe('whole')
})
