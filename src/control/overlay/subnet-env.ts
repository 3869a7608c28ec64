/** subnet.env: what flannel tells Docker and CNI about the host's subnet. */
import fs from 'node:fs';
import path from 'node:path';
import { formatAddress } from '../../dataplane/wire/ipv4.js';
import { formatSubnet, parseSubnet, type Subnet } from './subnet.js';

export interface SubnetEnv {
  readonly network: Subnet;
  readonly subnet: Subnet;
  /** MTU of the tunnel. */
  readonly mtu: number;
  /** Whether the daemon itself masquerades. */
  readonly ipMasq: boolean;
}

/** The text, byte for byte as flannel writes it. FLANNEL_SUBNET is the first usable address. */
export function formatSubnetEnv({ network, subnet, mtu, ipMasq }: SubnetEnv): string {
  return [
    `FLANNEL_NETWORK=${formatSubnet(network)}`,
    `FLANNEL_SUBNET=${formatAddress(subnet.address + 1)}/${subnet.length}`,
    `FLANNEL_MTU=${mtu}`,
    `FLANNEL_IPMASQ=${ipMasq}`,
    '',
  ].join('\n');
}

/**
 * Writes the file: directory 0755 (less the umask), file 0644 whatever the umask, and whole or
 * not at all. Throws what the file system throws.
 */
export function writeSubnetEnv(file: string, env: SubnetEnv): void {
  const directory = path.dirname(file);
  makeDirectory(directory);
  const temporary = path.join(directory, `.${path.basename(file)}.weft`);
  try {
    fs.writeFileSync(temporary, formatSubnetEnv(env));
    fs.chmodSync(temporary, 0o644);
    fs.renameSync(temporary, file);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
}

/** Not with `recursive`, which never returns for a directory that /proc refuses (Node 20). */
function makeDirectory(directory: string): void {
  const make = () => fs.mkdirSync(directory, { mode: 0o755 });
  try {
    make();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT') throw error;
    makeDirectory(path.dirname(directory));
    make();
  }
}

/** The subnet of an earlier run; undefined when there is no file or it does not name just one. */
export function readPreviousSubnet(file: string): Subnet | undefined {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  const line = /^[ \t]*(?:export[ \t]+)?FLANNEL_SUBNET[ \t]*[=:][ \t]*(.*)$/m.exec(text);
  const value = (line?.[1] ?? '').replace(/[ \t]#.*$/, '').trim();
  return parseSubnet(value.replace(/^(["'])(.*)\1$/, '$2'));
}
