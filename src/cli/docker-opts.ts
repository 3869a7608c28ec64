/**
 * `weft docker-opts`: writes dockerd's options for this host's subnet, with the options and to the
 * byte as flannel's mk-docker-opts.sh does, so that it takes that script's place in a unit file.
 */
import fs from 'node:fs';
import path from 'node:path';
import { DOCKER_OPTIONS } from '../control/host/down.js';
import { HostError } from '../control/host/errors.js';
import { Journal } from '../control/host/journal.js';
import { type Runner, systemRunner } from '../control/host/runner.js';
import { messageOf } from '../control/store/store.js';
import { formatAddress, parseAddress } from '../dataplane/wire/ipv4.js';
import { type Flags, parseFlags, UsageError } from './flags.js';
import { flagsOf } from './manual/command.js';
import { DOCKER_OPTS } from './manual/docker-opts.js';
import { helpOf } from './manual/help.js';
import { complain, printText } from './print.js';
import { ownFolder, readRunDirectory } from './run-dir.js';

const DAEMON_JSON = '/etc/docker/daemon.json';

/** What cannot be done; its message is for the operator. */
class OptionError extends Error {}

export interface Wanted {
  /** -i: a variable each. */
  readonly individual: boolean;
  /** -c: all in one variable. */
  readonly combined: boolean;
  /** -k: the name of that one. */
  readonly key: string;
  /** What that variable holds already; goes in front. */
  readonly before: string;
  /** Not -m. */
  readonly masquerade: boolean;
}

export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(flagsOf(DOCKER_OPTS), args.flatMap(splitLetters));
  if (flags.bool('help')) {
    printText(helpOf(DOCKER_OPTS));
    return 0;
  }
  if (flags.rest.length > 0) throw new UsageError(`${JSON.stringify(flags.rest[0])} is not a flag`);
  const key = flags.text('k');
  if (!/^[A-Za-z_]\w*$/.test(key)) throw new UsageError(`-k ${key}: not the name of a variable`);
  try {
    const env = readEnv(flags.text('f'));
    const options = {
      individual: flags.bool('i'),
      combined: flags.bool('c'),
      key,
      before: process.env[key] ?? '',
      masquerade: !flags.bool('m'),
    };
    const text = dockerOptions(env, options);
    for (const line of contradictions(text, options.before, readDaemonJson())) complain(line);
    await record(flags, path.resolve(flags.text('d')), text);
    write(flags.text('d'), text);
    const route = await routeOfOthers(env.get('FLANNEL_SUBNET') ?? '', systemRunner);
    if (route === undefined) return 0;
    throw new OptionError(`Your routing table already contains the subnet: ${route}`);
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    complain(error.message);
    return 1;
  }
}

/**
 * The text of the environment file. Throws an Error for a subnet file that holds what no
 * flannel writes, since what it says is read by a shell or by systemd afterwards.
 */
export function dockerOptions(env: ReadonlyMap<string, string>, wanted: Wanted): string {
  const options: [string, string][] = [];
  const subnet = env.get('FLANNEL_SUBNET');
  if (subnet !== undefined) options.push(['BIP', `--bip=${bridgeAddress(subnet)}`]);
  const masquerades = env.get('FLANNEL_IPMASQ');
  if (masquerades !== undefined && wanted.masquerade) {
    if (masquerades !== 'true' && masquerades !== 'false') {
      throw new OptionError(`Invalid value of FLANNEL_IPMASQ: ${masquerades}`);
    }
    // One of the two masquerades, never both: else the overlay sees the host's address.
    options.push(['IPMASQ', `--ip-masq=${masquerades === 'false'}`]);
  }
  const mtu = env.get('FLANNEL_MTU');
  if (mtu !== undefined) {
    if (!/^\d+$/.test(mtu)) throw new OptionError(`Invalid value of FLANNEL_MTU: ${mtu}`);
    options.push(['MTU', `--mtu=${mtu}`]);
  }
  const both = wanted.individual === wanted.combined;
  const lines: string[] = [];
  if (wanted.individual || both) {
    for (const [name, option] of options) lines.push(`DOCKER_OPT_${name}="${option}"`);
  }
  if (wanted.combined || both) {
    const before = wanted.before === '' ? '' : `${wanted.before} `;
    const all = options.map(([, option]) => ` ${option}`).join('');
    lines.push(`${wanted.key}="${before}${all}"`);
  }
  return lines.map((line) => `${line}\n`).join('');
}

/**
 * What of dockerd's other options contradicts these, a line each: dockerd does not start then.
 * @param text what is written
 * @param before options that stand in front of ours
 * @param daemonJson the text of /etc/docker/daemon.json, where there is one
 */
export function contradictions(
  text: string,
  before: string,
  daemonJson: string | undefined,
): string[] {
  const told: string[] = [];
  const [bridge] = /(?<=^|\s)(?:--bridge|-b)(?=[\s=])/.exec(before) ?? [];
  const sets = (name: string) => text.includes(`--${name}=`);
  if (bridge !== undefined && sets('bip')) {
    told.push(`dockerd takes ${bridge} or --bip, not both, and will not start: remove ${bridge}`);
  }
  let settings: unknown;
  try {
    settings = JSON.parse(daemonJson ?? '{}');
  } catch {
    // dockerd itself tells that best.
  }
  if (typeof settings !== 'object' || settings === null) return told;
  for (const name of ['bridge', 'bip', 'ip-masq', 'mtu'].filter((one) => one in settings)) {
    const flag = name === 'bridge' ? 'bip' : name;
    if (!sets(flag)) continue;
    told.push(
      `dockerd takes "${name}" of ${DAEMON_JSON} or --${flag}, not both, and will not start: remove "${name}"`,
    );
  }
  return told;
}

function readDaemonJson(): string | undefined {
  try {
    return fs.readFileSync(DAEMON_JSON, 'utf8');
  } catch {
    return undefined;
  }
}

/** The bridge's own address: a network's address, which Docker refuses, becomes its first host. */
function bridgeAddress(subnet: string): string {
  const [, dotted = '', length = ''] = /^([\d.]+)\/(\d{1,2})$/.exec(subnet) ?? [];
  const address = parseAddress(dotted);
  if (address === undefined || Number(length) > 30) {
    throw new OptionError(`Invalid value of FLANNEL_SUBNET: ${subnet}`);
  }
  const host = address & (0xffffffff >>> Number(length));
  return `${formatAddress(host === 0 ? address + 1 : address)}/${length}`;
}

/** `-icm` as `-i -c -m`, which getopts takes. */
function splitLetters(arg: string): string[] {
  return /^-[icm]{2,3}$/.test(arg) ? [...arg.slice(1)].map((letter) => `-${letter}`) : [arg];
}

/** The variables of a subnet file; none, with a line on stderr, where there is no file. */
function readEnv(file: string): Map<string, string> {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new OptionError(`cannot read ${file}: ${messageOf(error)}`);
    }
    complain(`there is no ${file}, so dockerd gets no options: is weft up?`);
    return new Map();
  }
  const lines = text.matchAll(/^[ \t]*(?:export[ \t]+)?(\w+)=(["']?)(.*)\2[ \t\r]*$/gm);
  return new Map([...lines].map(([, name = '', , value = '']) => [name, value]));
}

/**
 * So that `weft down` takes the file back, on a host where a weft has been. The file matters more:
 * an ordinary user may write it, who may not write a journal.
 */
async function record(flags: Flags, file: string, wrote: string): Promise<void> {
  try {
    const folder = await ownFolder(readRunDirectory(flags, process.env));
    // From a device or a pipe there is nothing to take back, and to read one would wait for ever.
    if (!fs.existsSync(folder) || isSpecial(file)) return;
    Journal.open(DOCKER_OPTIONS, folder).record({ kind: 'file', path: file, wrote });
  } catch {
    // Said above.
  }
}

/**
 * Whole or not at all, and mode 0644: dockerd may be starting just now. What a symbolic link leads to is
 * written, and not the link; a device or a pipe (`-d /dev/stdout`) has no other way than to be written.
 */
function write(file: string, text: string): void {
  try {
    if (isSpecial(file)) fs.writeFileSync(file, text);
    else replace(targetOf(file), text);
  } catch (error) {
    throw new OptionError(`cannot write ${file}: ${messageOf(error)}`);
  }
}

/** Neither a file nor missing; throws what the file system says of links in a circle. */
function isSpecial(file: string): boolean {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() === false;
}

function replace(file: string, text: string): void {
  const temporary = path.join(path.dirname(file), `.${path.basename(file)}.weft`);
  try {
    fs.writeFileSync(temporary, text);
    fs.chmodSync(temporary, 0o644);
    fs.renameSync(temporary, file);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
}

/** Behind all links; of one that leads to nothing yet, where it leads. */
function targetOf(file: string): string {
  try {
    return fs.realpathSync(file);
  } catch (error) {
    const isLink = fs.lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() === true;
    if (!isLink) return file;
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return targetOf(path.resolve(path.dirname(file), fs.readlinkSync(file)));
  }
}

/**
 * The route that leads this host's own subnet through a gateway, as `ip` shows it; none, with a line on
 * stderr, where it cannot be asked: the file is written all the same.
 */
export async function routeOfOthers(subnet: string, runner: Runner): Promise<string | undefined> {
  const [dotted = '', length] = subnet.split('/');
  const address = parseAddress(dotted);
  if (address === undefined) return undefined;
  const mask = Number(length) === 0 ? 0 : -1 << (32 - Number(length));
  const network = `${formatAddress(address & mask)}/${length}`;
  try {
    const { stdout } = await runner.run(['ip', '-4', 'route', 'show', network]);
    const line = stdout.split('\n').find((one) => / via /.test(one));
    return line?.trim();
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    complain(`whether another route has this subnet is not known: ${error.message}`);
    return undefined;
  }
}
