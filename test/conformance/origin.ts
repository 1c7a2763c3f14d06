import { type AddressInfo, Server } from 'node:net'
import { devNull } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

// The suite's origin, a process of its own: told the engine's directory, it tells its port.

type Listen = (this: Server, port: number, host: string) => Server

// The suite's server would listen on every interface, and on a port that has to be known beforehand.
function keepToLoopback(): void {
  const listen = Server.prototype.listen as Listen
  Server.prototype.listen = function (this: Server) {
    this.once('listening', () => process.send?.((this.address() as AddressInfo).port))
    return listen.call(this, 0, '127.0.0.1')
  }
}

keepToLoopback()
process.on('disconnect', () => process.exit())
process.env.npm_config_protocol = 'http'
process.env.npm_config_port = '0'
process.env.npm_config_pidfile = devNull
await import(pathToFileURL(join(process.argv[2]!, 'server/server.mjs')).href)
