/** Leases as they stand in flannel's store. */

/** A subnet and where it is reached. */
export interface Peer {
  /** Such as 10.10.58.0/24. */
  subnet: string;
  publicIp: string;
  /** The VTEP's, such as 0e:2a:00:00:00:01. */
  mac: string;
}

/** The key of a lease below `<prefix>/subnets/`: 10.10.58.0-24. */
export function leaseKey(peer: Peer): string {
  return peer.subnet.replace('/', '-');
}

/** The lease value that flannel writes, byte for byte. */
export function leaseValue(peer: Peer & { vni?: number }): string {
  return JSON.stringify({
    PublicIP: peer.publicIp,
    PublicIPv6: null,
    BackendType: 'vxlan',
    BackendData: { VNI: peer.vni ?? 1, VtepMAC: peer.mac },
  });
}

/** The peer that a key (with or without what is in front) and a value describe. */
export function parseLease(key: string, value: string): Peer {
  const lease = JSON.parse(value) as { PublicIP: string; BackendData: { VtepMAC: string } };
  return {
    subnet: key.slice(key.lastIndexOf('/') + 1).replace('-', '/'),
    publicIp: lease.PublicIP,
    mac: lease.BackendData.VtepMAC,
  };
}
