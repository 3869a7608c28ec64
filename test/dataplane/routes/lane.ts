/** A publisher and one reader in the same thread, and routes written as text. */
import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { LocalRoute, Peer, Route } from '../../../src/dataplane/routes/peer.js';
import { Publisher } from '../../../src/dataplane/routes/publisher.js';
import { RouteReader } from '../../../src/dataplane/routes/reader.js';
import { parseMac } from '../../../src/dataplane/wire/ethernet.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';

export const OWN_MAC = parseMac('02:00:00:00:00:0a')!;

export const ip = (text: string): number => parseAddress(text)!;

export function peer(address: string, mac = '02:00:00:00:00:0b', port = 8472): Peer {
  return { address: ip(address), mac: parseMac(mac)!, port };
}

export function local(prefix: string): LocalRoute {
  const [network, length] = prefix.split('/');
  return { network: ip(network!), length: Number(length) };
}

export function route(prefix: string, to: Peer): Route {
  return { ...local(prefix), peer: to };
}

export interface Lanes {
  readonly publisher: Publisher;
  readonly readers: RouteReader[];
  /** Closes the ports, or the test process would not end. */
  close(): void;
}

export function lanes(count = 1, vni = 1): Lanes {
  const publisher = new Publisher({ vni, ownMac: OWN_MAC, threads: count });
  const ports: MessagePort[] = [];
  const readers = Array.from({ length: count }, (_, lane) => {
    const { port1, port2 } = new MessageChannel();
    ports.push(port1, port2);
    publisher.attach(lane, port1);
    return new RouteReader(publisher.handle, lane, () => receiveMessageOnPort(port2));
  });
  return {
    publisher,
    readers,
    close: () => {
      for (const port of ports) port.close();
    },
  };
}
