/** What flannel's subnet.env tells the container engine. */
export interface SubnetFile {
  /** The whole overlay, such as 10.10.0.0/16. */
  network: string;
  /** The bridge's address in this host's subnet, such as 10.10.58.1/24. */
  subnet: string;
  mtu: number;
  ipMasq: boolean;
}

export const SUBNET_FILE = '/run/flannel/subnet.env';

/** Throws when a line is missing. */
export function parseSubnetFile(text: string): SubnetFile {
  const values = new Map(
    text.split('\n').map((line) => line.split('=', 2) as [string, string | undefined]),
  );
  const value = (key: string): string => {
    const found = values.get(key);
    if (found === undefined) throw new Error(`subnet.env has no ${key}:\n${text}`);
    return found;
  };
  return {
    network: value('FLANNEL_NETWORK'),
    subnet: value('FLANNEL_SUBNET'),
    mtu: Number(value('FLANNEL_MTU')),
    ipMasq: value('FLANNEL_IPMASQ') === 'true',
  };
}

/** As flannel writes it, byte for byte. */
export function formatSubnetFile(file: SubnetFile): string {
  return (
    `FLANNEL_NETWORK=${file.network}\nFLANNEL_SUBNET=${file.subnet}\n` +
    `FLANNEL_MTU=${file.mtu}\nFLANNEL_IPMASQ=${file.ipMasq}\n`
  );
}
