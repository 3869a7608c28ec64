/**
 * What keeps this host from passing packets between containers and other hosts. For each packet the
 * kernel asks the device that it came in by, `conf/<device>/forwarding`; it does not ask
 * `net.ipv4.ip_forward`, which gives all devices its own value when it changes (and not when it is
 * written as it was), and new ones theirs.
 *
 * weft sees to its own device alone. Were it to switch the host on, it would make a router of one
 * that was none, between all its networks; and dockerd sets the policy of FORWARD to DROP only where
 * it is the one to switch forwarding on.
 */
import type { Fault } from '../runtime.js';
import { ofDevice, readSysctl, sysctlCommand } from './sysctls.js';

const HOST = 'net/ipv4/ip_forward';

/** The devices that packets come in by. */
export interface Ways {
  /** weft's own, if any. */
  readonly tunnel: string | undefined;
  /** Those that containers are behind. */
  readonly bridges: readonly string[];
  /** Those by which other hosts send to our containers past the tunnel. */
  readonly direct: readonly string[];
}

export type Said = Pick<Fault, 'text' | 'cure'>;

/** A sentence for each thing that does not forward, and what to do. Only looks. */
export function whatDoesNotForward({ tunnel, bridges, direct }: Ways, proc = '/proc'): Said[] {
  const isOff = (key: string) => readSysctl(key, proc) === '0';
  const closed = (device: string) => isOff(ofDevice(device, 'forwarding'));
  // One that is made now would be as `default` says.
  const behind = bridges.length > 0 ? bridges : ['default'];
  const others = [...behind, ...direct].filter(closed);
  const own = tunnel !== undefined && closed(tunnel) ? [tunnel] : [];
  if (others.length > 0 && isOff(HOST)) {
    return [hostIsOff([...own, ...others].filter((name) => name !== 'default'))];
  }
  const all = own.map((device) => {
    const lost = 'nothing that other hosts send reaches a container';
    return said(device, `${lost}, and weft cannot write that here`);
  });
  for (const device of others) {
    if (device === 'default') {
      all.push(said(device, 'nor will the bridge of containers'));
    } else if (bridges.includes(device)) {
      all.push(said(device, 'containers reach no other host'));
    } else {
      all.push(said(device, 'what other hosts route here for containers is dropped'));
    }
  }
  return all;
}

function said(device: string, lost: string): Said {
  const command = sysctlCommand(ofDevice(device, 'forwarding'), '1');
  return { text: describe(device, lost), cure: `${command}   (on the host)` };
}

function describe(device: string, lost: string): string {
  const file = `/proc/sys/${ofDevice(device, 'forwarding')} is 0`;
  if (device === 'default') return `a device made now does not forward IPv4 (${file}), ${lost}`;
  return `${device} does not forward IPv4 (${file}), so ${lost}`;
}

function hostIsOff(devices: readonly string[]): Said {
  const also = devices.length === 0 ? '' : `, and so it is for ${devices.join(', ')}`;
  const off = `/proc/sys/${HOST} is 0${also}`;
  return {
    text: `this host does not forward IPv4 (${off}), so containers reach no other host`,
    cure:
      `${sysctlCommand(HOST, '1')}; echo net.ipv4.ip_forward=1 > /etc/sysctl.d/50-forward.conf   ` +
      '(where Docker is, in place of it: systemctl restart docker, which sets the policy of FORWARD ' +
      'to DROP only where it is the one to switch forwarding on)',
  };
}
