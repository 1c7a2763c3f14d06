/** The API on a free port of this machine, and a client that talks to it. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Express } from 'express'
import { type Client, createClient } from './client.ts'

export async function serve(app: Express, port = 0): Promise<Client> {
  // Connections outlive the pauses of the demo, because one that is closed just as it is reused fails its request.
  const server = createServer({ keepAliveTimeout: 60_000 }, app)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  const client = createClient((server.address() as AddressInfo).port)
  const close = () => {
    client.close()
    server.close()
    server.closeAllConnections()
  }
  return { ...client, close }
}
