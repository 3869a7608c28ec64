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

/** A sentence for each thing that does not forward, with what to do. Only looks. */
export function whatDoesNotForward({ tunnel, bridges, direct }: Ways, proc = '/proc'): string[] {
  const isOff = (key: string) => readSysctl(key, proc) === '0';
  const closed = (device: string) => isOff(ofDevice(device, 'forwarding'));
  // One that is made now would be as `default` says.
  const behind = bridges.length > 0 ? bridges : ['default'];
  const others = [...behind, ...direct].filter(closed);
  const own = tunnel !== undefined && closed(tunnel) ? [tunnel] : [];
  if (others.length > 0 && isOff(HOST)) {
    return [hostIsOff([...own, ...others].filter((name) => name !== 'default'))];
  }
  const said = own.map((device) => {
    const lost = 'nothing that other hosts send reaches a container';
    return `${describe(device, lost)}; weft cannot write that here: ${command(device)}`;
  });
  for (const device of others) {
    if (device === 'default') {
      said.push(`${describe(device, 'nor will the bridge of containers')}; ${command(device)}`);
    } else if (bridges.includes(device)) {
      said.push(`${describe(device, 'containers reach no other host')}; ${command(device)}`);
    } else {
      const lost = 'what other hosts route here for containers is dropped';
      said.push(`${describe(device, lost)}; ${command(device)}`);
    }
  }
  return said;
}

function describe(device: string, lost: string): string {
  const file = `/proc/sys/${ofDevice(device, 'forwarding')} is 0`;
  if (device === 'default') return `a device made now does not forward IPv4 (${file}), ${lost}`;
  return `${device} does not forward IPv4 (${file}), so ${lost}`;
}

function command(device: string): string {
  return `run on the host: ${sysctlCommand(ofDevice(device, 'forwarding'), '1')}`;
}

function hostIsOff(devices: readonly string[]): string {
  const also = devices.length === 0 ? '' : `, and so it is for ${devices.join(', ')}`;
  return (
    `this host does not forward IPv4 (/proc/sys/${HOST} is 0${also}), so containers reach no other ` +
    'host; where Docker is, let it do that when it starts (systemctl restart docker), since it sets ' +
    "FORWARD's policy to DROP only where it is the one to switch forwarding on; elsewhere run: " +
    `${sysctlCommand(HOST, '1')}, and for the next boot: ` +
    'echo net.ipv4.ip_forward=1 > /etc/sysctl.d/50-forward.conf'
  );
}
