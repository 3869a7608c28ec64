/** A long way between a test and its etcd. */
import net from 'node:net';

/** Passes bytes on, each `delay` milliseconds later, and counts the connections. */
export class SlowProxy {
  /** How many there were. */
  connections = 0;
  readonly #to: number;
  readonly #open = new Set<net.Socket>();
  readonly #clients = new Set<net.Socket>();
  readonly #server: net.Server;
  delay: number;
  /** Nothing gets through, and nobody is told. */
  silent = false;

  constructor(to: number, delay: number) {
    this.#to = to;
    this.delay = delay;
    this.#server = net.createServer((client) => this.#pass(client));
  }

  /** The connections that are open now. */
  get open(): number {
    return this.#clients.size;
  }

  /** Gives its port. */
  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return (this.#server.address() as net.AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #pass(client: net.Socket): void {
    this.connections++;
    this.#clients.add(client);
    client.on('close', () => this.#clients.delete(client));
    const upstream = net.connect(this.#to, '127.0.0.1');
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#open.add(from);
      const later = (act: () => void) => setTimeout(() => this.silent || act(), this.delay);
      from.on('error', () => {});
      from.on('data', (bytes) => later(() => to.destroyed || to.write(bytes)));
      from.on('end', () => later(() => to.end()));
      from.on('close', () => {
        this.#open.delete(from);
        later(() => to.destroy());
      });
    }
  }
}
