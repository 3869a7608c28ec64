/** weft's own device, which others take away again and again; once alone weft puts that right. */
import type { AnyStatus } from './check.js';
import type { Finding } from './finding.js';

export function judgeDevice(status: AnyStatus): Finding[] {
  if (status.backend !== 'vxlan' || status.device.taken < 2) return [];
  const { name } = status.device;
  return [
    {
      code: 'device-lost',
      severity: 'error',
      scope: 'host',
      about: name,
      text: `another program deletes ${name} again and again: packets are lost until weft has made it anew, each time`,
      cure: `stop it, or tell it to leave ${name} alone (NetworkManager, systemd-networkd: as unmanaged)`,
    },
  ];
}
