/**
 * A host's links, addresses and routes in memory, and the programs that weft asks and changes them
 * by: `ip` at once and as a server, `ip monitor`, and iptables where it has one.
 */
import { HostError } from '../../../../src/control/host/errors.js';
import { contains, type Prefix, parsePrefix } from '../../../../src/control/host/ipv4.js';
import type {
  Listener,
  Ran,
  Runner,
  Running,
  RunOptions,
} from '../../../../src/control/host/runner.js';
import { FakeIptables } from '../../host/firewall/fake-iptables.js';

export interface Link {
  readonly ifname: string;
  readonly ifindex: number;
  mtu: number;
  txqlen: number;
  flags: string[];
  /** With their prefix length: `192.168.56.11/24`. */
  addresses: string[];
  /** The VRF it is in. */
  master?: string;
  /** A VXLAN device's own. */
  vxlan?: { readonly id: number; readonly port: number };
  /** Of a VXLAN device. */
  address?: string;
  /** A TUN's. */
  queues?: number;
}

type Route = Record<string, unknown> & { dst: string };

export class FakeKernel implements Runner {
  readonly links: Link[] = [];
  readonly routes: Route[] = [];
  /** In the order in which it was done: every change, and what other fakes put in between. */
  readonly did: string[];
  readonly iptables = new FakeIptables();
  /** Programs that are not there. */
  absent = /^(nft|ip6?tables)/;
  /** Lines to the running `ip` that are refused, and the words for it. */
  refuse: { readonly line: RegExp; readonly why: string } | undefined;
  /** The running `ip` leaves all lines unanswered while this is set, until `release`. */
  holdIp = false;
  /** What the running `ip` was asked, in its order. */
  readonly asked: string[] = [];
  #held: (() => void)[] = [];
  #monitors: Listener[] = [];
  #index = 1;

  constructor(did: string[]) {
    this.did = did;
    this.add('lo', { mtu: 65_536, addresses: ['127.0.0.1/8'], flags: ['LOOPBACK', 'UP'] });
  }

  add(ifname: string, more: Partial<Link> = {}): Link {
    const plain = { mtu: 1500, txqlen: 500, flags: ['UP'], addresses: [] };
    const link = { ifname, ifindex: this.#index++, ...plain, ...more };
    this.links.push(link);
    return link;
  }

  link(name: string): Link | undefined {
    return this.links.find(({ ifname }) => ifname === name);
  }

  /** With its routes. */
  delete(name: string): void {
    remove(this.links, ({ ifname }) => ifname === name);
    remove(this.routes, ({ dev }) => dev === name);
  }

  /** Destinations of the routes into a device, sorted. */
  routesBy(device: string): string[] {
    return this.routes.flatMap(({ dst, dev }) => (dev === device ? dst : [])).sort();
  }

  /** What `ip monitor` says when something changes. */
  announce(): void {
    for (const listener of this.#monitors) listener.stdout('2: ens33\n');
  }

  async run(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
    const [program = ''] = argv;
    const command = argv.join(' ');
    if (this.absent.test(program)) {
      throw new HostError('ENOENT', `cannot run ${program}: there is no such program in the PATH`);
    }
    if (/^ip6?tables/.test(program)) return this.iptables.run(argv, options);
    const answer = (stdout: string): Ran => ({ code: 0, signal: null, stdout, stderr: '' });
    if (command === 'ip -V') return answer('ip utility, iproute2-6.1.0\n');
    if (command === 'ip -j -force -batch -') return this.#batch(options.input ?? '');
    if (command.startsWith('ip link del dev ')) {
      this.did.push(command);
      this.delete(argv.at(-1)!);
      return answer('');
    }
    return answer(JSON.stringify(this.#list(command.replace(/^ip -j (-4 )?/, ''))));
  }

  start(argv: readonly string[], listener: Listener): Running {
    if (this.absent.test(argv[0]!)) throw new Error(`${argv[0]} is not there`);
    if (argv[1] === 'monitor') return this.#monitor(listener);
    let line = 0;
    let ended = false;
    const execute = (text: string): void => {
      for (const words of text.split('\n').slice(0, -1)) {
        line += 1;
        const why = words === 'sync' ? 'Object "sync" is unknown' : this.#execute(words, listener);
        if (why !== undefined) listener.stderr(`${why}\nCommand failed -:${line}\n`);
      }
    };
    return {
      write: (text) => {
        const run = () => !ended && execute(text);
        if (this.holdIp) this.#held.push(run);
        else queueMicrotask(run);
      },
      kill: () => {
        if (ended) return;
        ended = true;
        this.did.push('ip ended');
        listener.ended({ code: null, signal: 'SIGKILL' });
      },
    };
  }

  /** Lists, one line after another. */
  #batch(input: string): Ran {
    let [stdout, stderr] = ['', ''];
    for (const [i, line] of input.trimEnd().split('\n').entries()) {
      const name = / dev (\S+)/.exec(line)?.[1];
      if (name === undefined || this.link(name) !== undefined) {
        stdout += `${JSON.stringify(this.#list(line))}\n`;
      } else stderr += `Device "${name}" does not exist.\nCommand failed -:${i + 1}\n`;
    }
    return { code: stderr === '' ? 0 : 1, signal: null, stdout, stderr };
  }

  /** Lets the running `ip` answer again. */
  release(): void {
    this.holdIp = false;
    for (const run of this.#held.splice(0)) run();
  }

  #monitor(listener: Listener): Running {
    this.#monitors.push(listener);
    return {
      write() {},
      kill: () => {
        this.did.push('ip monitor ended');
        this.#monitors = this.#monitors.filter((one) => one !== listener);
        listener.ended({ code: null, signal: 'SIGKILL' });
      },
    };
  }

  /** The words for why it is refused; undefined: done. */
  #execute(line: string, listener: Listener): string | undefined {
    if (this.refuse?.line.test(line)) return this.refuse.why;
    const [object, verb, ...words] = line.split(' ');
    if (verb === 'show' || verb === 'get') {
      this.asked.push(line);
      const name = / dev (\S+)/.exec(line)?.[1];
      if (name !== undefined && this.link(name) === undefined) {
        return `Device "${name}" does not exist.`;
      }
      const rows = this.#list(line);
      if (verb === 'get' && rows.length === 0) return 'RTNETLINK answers: Network is unreachable';
      listener.stdout(`${JSON.stringify(rows)}\n`);
      return undefined;
    }
    this.did.push(`ip ${line}`);
    return object === 'route' ? this.#route(verb!, words) : this.#device(object!, verb!, words);
  }

  #list(line: string): object[] {
    const name = / dev (\S+)/.exec(line)?.[1];
    const of = this.links.filter(({ ifname }) => name === undefined || ifname === name);
    if (line.startsWith('-d link show type vxlan')) {
      return this.links.filter(({ vxlan }) => vxlan !== undefined).map(detailed);
    }
    if (line.startsWith('-d link show')) return of.map(detailed);
    if (line === 'addr show type dummy') return [];
    if (line.startsWith('addr show to ')) {
      const network = parsePrefix(line.split(' ').at(-1)!)!;
      return of.filter(({ addresses }) => addresses.some((one) => isIn(network, one))).map(row);
    }
    if (line.startsWith('addr show')) return of.map(row);
    if (line === 'route show table main proto kernel') {
      return this.routes.filter(({ protocol }) => protocol === 'kernel').map(withoutProtocol);
    }
    if (line.startsWith('route get fibmatch ')) return [];
    if (line.startsWith('route get ')) {
      const way = this.routes.find(({ dst }) => dst === 'default');
      if (way === undefined || line.includes(' fibmatch ')) return way === undefined ? [] : [way];
      return [{ dst: line.split(' ')[2], dev: way.dev, flags: [] }];
    }
    if (line === 'route show default') return this.routes.filter(({ dst }) => dst === 'default');
    if (line.startsWith('route show table main root ')) {
      return this.routes.filter(({ dst }) => dst !== 'default');
    }
    if (line.startsWith('route show table main ')) {
      const special = line.endsWith(' type blackhole');
      return this.routes.filter(({ dev, type }) => (special ? type !== undefined : dev === name));
    }
    throw new Error(`not known to this ip: ${line}`);
  }

  #route(verb: string, words: readonly string[]): string | undefined {
    const special = words[0] === 'blackhole';
    const dst = words[special ? 1 : 0]!;
    const after = (word: string) => words[words.indexOf(word) + 1];
    const has = (word: string) => words.includes(word);
    if (verb === 'add' && this.routes.some((one) => one.dst === dst)) {
      return 'RTNETLINK answers: File exists';
    }
    const before = remove(this.routes, (one) => one.dst === dst);
    if (verb === 'del') return before > 0 ? undefined : 'RTNETLINK answers: No such process';
    const dev = after('dev')!;
    if (has('dev') && this.link(dev) === undefined) return `Cannot find device "${dev}"`;
    this.routes.push({
      dst,
      ...(special ? { type: 'blackhole', metric: Number(after('metric')) } : { dev }),
      ...(has('via') ? { gateway: after('via') } : {}),
      ...(has('scope') ? { scope: after('scope') } : {}),
      flags: [],
    });
    return undefined;
  }

  #device(object: string, verb: string, words: readonly string[]): string | undefined {
    const name = words[words.indexOf('dev') + 1]!;
    const link = this.link(name);
    if (link === undefined) return `Cannot find device "${name}"`;
    if (object === 'addr') {
      if (verb === 'add') link.addresses.push(words[0]!);
      else remove(link.addresses, (one) => one === words[0]);
    } else if (words.includes('mtu')) link.mtu = Number(words.at(-1));
    else if (words.includes('txqueuelen')) link.txqlen = Number(words.at(-1));
    else if (words.at(-1) === 'up') link.flags = [...link.flags, 'UP'];
    return undefined;
  }
}

function withoutProtocol({ protocol: _, ...row }: object & { protocol?: unknown }): object {
  return row;
}

function isIn(network: Prefix, address: string): boolean {
  return contains(network, parsePrefix(`${address.split('/')[0]}/32`)!);
}

function remove<T>(from: T[], which: (one: T) => boolean): number {
  const rest = from.filter((one) => !which(one));
  const removed = from.length - rest.length;
  from.splice(0, from.length, ...rest);
  return removed;
}

function row({ addresses, vxlan: _, queues: __, ...link }: Link): object {
  const parts = addresses.map((one) => one.split('/'));
  return {
    ...link,
    addr_info: parts.map(([local, length], i) => ({
      family: 'inet',
      local,
      prefixlen: Number(length),
      ...(i > 0 ? { secondary: true } : {}),
    })),
  };
}

function detailed({ ifname, flags, address, vxlan, queues }: Link): object {
  const kind = ifname.startsWith('vrf') ? 'vrf' : 'tun';
  const data = vxlan ?? { numqueues: queues ?? 1 };
  return { ifname, flags, address, linkinfo: { info_kind: kind, info_data: data } };
}
