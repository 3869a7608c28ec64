/** A network between a test and its etcd that can be cut. */
import net from 'node:net';

/** Passes bytes on, and cuts each connection after 30 to 200 ms (or never, but on `close`). */
export class CuttingProxy {
  cuts = 0;
  readonly #from: number;
  readonly #to: number;
  readonly #cutting: boolean;
  readonly #open = new Set<net.Socket>();
  #server: net.Server | undefined;

  constructor(from: number, to: number, cutting = true) {
    this.#from = from;
    this.#to = to;
    this.#cutting = cutting;
  }

  async listen(): Promise<void> {
    const server = net.createServer((client) => {
      const upstream = net.connect(this.#to, '127.0.0.1');
      for (const [socket, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        this.#open.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          this.#open.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
      if (!this.#cutting) return;
      const cut = () => {
        if (!client.destroyed) this.cuts++;
        client.destroy();
      };
      setTimeout(cut, 30 + ((this.cuts * 53) % 170)).unref();
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.#from, '127.0.0.1', resolve));
  }

  async close(): Promise<void> {
    const server = this.#server;
    for (const socket of this.#open) socket.destroy();
    this.#server = undefined;
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }
}
