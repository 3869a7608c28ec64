/** The underlay's switch: a bridge in the supervisor, and plugging a namespace into it. */
import { run } from './command.js';
import type { Namespace } from './namespace.js';

export interface Switch {
  /** The bridge's name in the supervisor. */
  readonly name: string;
  readonly mtu: number;
  /** The supervisor's own address on it, without the prefix length. */
  readonly gateway: string;
}

export interface PortOptions {
  /** Address and prefix length, such as 192.168.56.11/24. */
  address: string;
  /**
   * false makes the link a plain wire: no segmentation and no checksum is left to the
   * other end, so what passes are the packets a real network would carry. The host's receive
   * coalescing (GRO) is on, as on a real card. true (the default) is a bare veth.
   */
  offloads?: boolean;
}

/** Makes a switch; `address` with its prefix length is the supervisor's. */
export async function makeSwitch(name: string, mtu: number, address: string): Promise<Switch> {
  const commands = [
    `link add ${name} mtu ${mtu} type bridge stp_state 0 mcast_snooping 0`,
    `address add ${address} dev ${name}`,
    `link set ${name} up`,
  ];
  await run(['ip', '-batch', '-'], { input: commands.join('\n') });
  return { name, mtu, gateway: withoutPrefix(address) };
}

/** Plugs a namespace in: `device` there, a port named like the namespace in the supervisor. */
export async function plug(
  space: Namespace,
  device: string,
  into: Switch,
  options: PortOptions,
): Promise<void> {
  const port = space.name;
  const mtu = `mtu ${into.mtu}`;
  const commands = [
    `link add name ${port} ${mtu} type veth peer name ${device} ${mtu} netns ${space.holder}`,
    `link set ${port} master ${into.name} up`,
  ];
  await run(['ip', '-batch', '-'], { input: commands.join('\n') });
  if (options.offloads === false) {
    await run(['ethtool', '-K', port, ...NO_OFFLOADS, 'gro', 'off']); // a switch coalesces nothing
  }
  await bringUp(space, device, options);
}

const NO_OFFLOADS = ['tso', 'gso', 'tx-udp-segmentation', 'tx'].flatMap((name) => [name, 'off']);

/** Two namespaces joined by one veth, `device` at either end: no switch in between. */
export async function join(
  spaces: readonly [Namespace, Namespace],
  device: string,
  mtu: number,
  options: readonly [PortOptions, PortOptions],
): Promise<void> {
  const [a, b] = spaces;
  const command =
    `link add name ${device} mtu ${mtu} netns ${a.holder} type veth ` +
    `peer name ${device} mtu ${mtu} netns ${b.holder}`;
  await run(['ip', '-batch', '-'], { input: command });
  await bringUp(a, device, options[0]);
  await bringUp(b, device, options[1]);
}

async function bringUp(space: Namespace, device: string, options: PortOptions): Promise<void> {
  if (options.offloads === false) {
    await space.run(['ethtool', '-K', device, ...NO_OFFLOADS, 'gro', 'on']);
  }
  await space.ip(
    'link set lo up',
    `address add ${options.address} dev ${device}`,
    `link set ${device} up`,
  );
}

/** The address of `192.168.56.11/24`. */
export function withoutPrefix(address: string): string {
  return address.split('/')[0]!;
}
