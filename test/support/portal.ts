import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import type { Capture } from '../client-suite/stage.ts'

const PAGE = '<html>Please accept our terms</html>'

/** Something between a client and its hub that is no hub, as in hotels. */
export interface Portal extends AsyncDisposable {
  readonly port: number
}

export async function startPortal(capture: Capture): Promise<Portal> {
  const server = createServer((_request, response) => response.end(PAGE))
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'meshwire.v1' })
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => undefined)
    if (capture === 'page') {
      socket.end(
        `HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: ${PAGE.length}\r\n\r\n${PAGE}`,
      )
    } else if (capture === 'page in a message') {
      sockets.handleUpgrade(request, socket, head, (accepted) => accepted.send(PAGE))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets.clients) socket.terminate()
      server.close()
      server.closeAllConnections()
    },
  }
}
