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

/** What flanneld may write there: whatever has another name is somebody else's. */
const OURS =
  /^[ \t]*(?:export[ \t]+)?(FLANNEL_(?:(?:IPV6_)?(?:NETWORK|SUBNET)|MTU|IPMASQ))[ \t]*=(.*)$/s;
/** What a value of ours looks like: anything else is not shown. */
const PLAIN = /^[\w./:,-]{0,60}$/;

/**
 * What is wrong with a file of this text, as a clause (`whose FLANNEL_MTU was 1400`); undefined when
 * it says of the network just what `env` does. Lines of others are none of our business.
 */
export function wrongIn(text: string, env: SubnetEnv): string | undefined {
  const wanted = formatSubnetEnv(env).trimEnd().split('\n');
  const found = text.split('\n').filter((line) => OURS.test(line));
  const other = found.find((line) => !wanted.includes(line));
  const [, name = '', value = ''] = OURS.exec(other ?? '') ?? [];
  if (other !== undefined) {
    return `whose ${name} was ${PLAIN.test(value) ? value || 'empty' : 'not written as by flannel'}`;
  }
  const missing = wanted.find((line) => !found.includes(line));
  return missing === undefined ? undefined : `which lacked ${missing.split('=')[0]}`;
}

/** `text` with our lines in front, in place of its own; the lines of others as they are. */
export function withOurs(text: string, env: SubnetEnv): string {
  const others = text.split('\n').filter((line) => !OURS.test(line));
  while (others.at(-1) === '') others.pop();
  return `${formatSubnetEnv(env)}${others.map((line) => `${line}\n`).join('')}`;
}

/** The text of the file; undefined when there is none. Throws what the file system throws. */
export function readSubnetEnv(file: string): string | undefined {
  try {
    // To read a pipe would be to wait for whoever writes into it.
    if (!fs.statSync(file).isFile()) throw new Error('it is not a regular file');
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Writes the file, whole or not at all: directory 0755 (less the umask); a new file 0644 whatever
 * the umask, one that is there with its mode and owner; a symbolic link stays one. Throws what the
 * file system throws.
 */
export function writeSubnetEnv(file: string, text: string): void {
  const target = behindLinks(file);
  const directory = path.dirname(target);
  makeDirectory(directory);
  const before = fs.statSync(target, { throwIfNoEntry: false });
  const temporary = path.join(directory, `.${path.basename(target)}.weft`);
  try {
    fs.writeFileSync(temporary, text);
    fs.chmodSync(temporary, before === undefined ? 0o644 : before.mode & 0o777);
    if (before !== undefined) giveTo(temporary, before);
    fs.renameSync(temporary, target);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
}

/** Lets every user read it, as flannel's is, where that can be done. */
export function makeReadable(file: string): void {
  try {
    const mode = fs.statSync(file).mode & 0o777;
    if ((mode & 0o444) !== 0o444) fs.chmodSync(file, mode | 0o444);
  } catch {
    // Those who need it are root as a rule.
  }
}

/** As many links in a row as the kernel follows. */
const LINKS = 40;

function behindLinks(file: string): string {
  let target = file;
  for (let i = 0; i < LINKS; i++) {
    const stat = fs.lstatSync(target, { throwIfNoEntry: false });
    if (stat?.isSymbolicLink() !== true) return target;
    target = path.resolve(path.dirname(target), fs.readlinkSync(target));
  }
  throw new Error('it is a symbolic link that leads round in a circle');
}

/** Who has no right to may go without: the file is what matters. */
function giveTo(file: string, { uid, gid }: fs.Stats): void {
  const now = fs.statSync(file);
  if (now.uid === uid && now.gid === gid) return;
  try {
    fs.chownSync(file, uid, gid);
  } catch {
    // It is ours then.
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
