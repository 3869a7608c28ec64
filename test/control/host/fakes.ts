import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { HostError } from '../../../src/control/host/errors.js';
import type { Timers } from '../../../src/control/host/ip.js';
import { contains, parsePrefix } from '../../../src/control/host/ipv4.js';
import type { Ended, Listener, Ran, Runner } from '../../../src/control/host/runner.js';

type Answer = Partial<Ran> | Error;

/** A Runner that answers `run` from a table of argument vectors joined by spaces. */
export class FakeRunner implements Runner {
  readonly ran: string[] = [];
  readonly #answers: Record<string, Answer>;

  constructor(answers: Record<string, Answer> = {}) {
    this.#answers = answers;
  }

  async run(argv: readonly string[]): Promise<Ran> {
    const command = argv.join(' ');
    this.ran.push(command);
    const answer = this.#answers[command];
    if (answer === undefined) throw new Error(`unexpected command: ${command}`);
    if (answer instanceof Error) throw answer;
    return { code: 0, signal: null, stdout: '', stderr: '', ...answer };
  }

  start(): never {
    throw new Error('nothing is to be started');
  }
}

/** A host without `ip`. */
export const NO_IP: Runner = {
  run: async () => {
    const why = 'there is no such program in the PATH; install iproute2';
    throw new HostError('ENOENT', `cannot run ip: ${why}`);
  },
  start: () => {
    throw new Error('nothing is to be started');
  },
};

/**
 * A Runner whose `start` plays `ip -batch -` on a table of routes: numbers the lines, names the
 * failing ones, fails on what it does not know, and answers only when told to (`release`).
 */
export class FakeIp implements Runner {
  readonly lines: string[] = [];
  /** By the destination, or `blackhole` and the destination. */
  readonly routes = new Map<string, Record<string, unknown>>();
  /** What `route get` tells of an address; nothing leads to others. */
  readonly ways = new Map<string, Record<string, unknown>>();
  /** Lines refused, with the reason; a reason of 'end' ends the child instead. */
  readonly refuse = new Map<string, string>();
  starts = 0;
  /** When set, what is written waits here for `release`. */
  held: (() => void)[] | null = null;
  silent = false;
  /** Standard output that is still to come. */
  #late = '';

  run(): never {
    throw new Error('nothing is to be run');
  }

  start(_argv: readonly string[], listener: Listener) {
    this.starts++;
    let number = 0;
    let alive = true;
    const end = (how: Ended) => {
      alive = false;
      listener.ended(how);
    };
    const execute = (text: string) => {
      for (const line of text.split('\n').slice(0, -1)) {
        if (!alive) return;
        number++;
        const reason = this.#execute(line, listener);
        if (reason === 'end') end({ code: 255, signal: null });
        else if (reason !== null) listener.stderr(`${reason}\nCommand failed -:${number}\n`);
      }
    };
    return {
      write: (text: string) => {
        if (this.silent) return;
        if (this.held) this.held.push(() => execute(text));
        else queueMicrotask(() => execute(text));
      },
      kill: () => {
        if (alive) end({ code: null, signal: 'SIGKILL' });
      },
    };
  }

  release(): void {
    const held = this.held ?? [];
    this.held = null;
    for (const call of held) call();
  }

  #execute(line: string, listener: Listener): string | null {
    if (line === 'sync') return 'Object "sync" is unknown, try "ip help".';
    this.lines.push(line);
    const refused = this.refuse.get(line);
    if (refused !== undefined) return refused;
    const [, verb = '', ...words] = line.replace(' table main', '').split(' ');
    if (verb === 'show') {
      const what = /^(?:dev (\S+) )?proto boot( type blackhole)?$/.exec(words.join(' '));
      if (what === null) return `unexpected: ${line}`;
      const [, dev, special] = what;
      const rows = [...this.routes].map(([key, rest]) => ({
        dst: key.replace('blackhole ', ''),
        ...rest,
        flags: [],
      }));
      // What was asked for is left out of the answer.
      const found: Record<string, unknown>[] = rows.filter((row: Record<string, unknown>) => {
        return special ? row.type !== undefined : row.dev === dev;
      });
      this.#answer(
        listener,
        found.map(({ dev: _, ...rest }) => rest),
      );
    } else if (verb === 'get' && words[0] === 'fibmatch') {
      const address = parsePrefix(words[1] ?? '');
      const found = [...this.routes].find(([dst]) => {
        const outer = parsePrefix(dst);
        return outer !== null && address !== null && contains(outer, address);
      });
      if (found === undefined) return 'RTNETLINK answers: Network is unreachable';
      this.#answer(listener, [{ dst: found[0], ...found[1], flags: [] }]);
    } else if (verb === 'get') {
      const way = this.ways.get(words[0] ?? '');
      if (way === undefined) return 'RTNETLINK answers: Network is unreachable';
      this.#answer(listener, [{ dst: words[0], ...way, flags: [] }]);
    } else {
      return this.#change(verb, words);
    }
    return null;
  }

  #answer(listener: Listener, rows: readonly object[]): void {
    const text = `${JSON.stringify(rows)}\n`;
    if (this.#late !== '') {
      this.#late += text;
      return;
    }
    listener.stdout(text.slice(0, 3));
    this.#late = text.slice(3);
    // Standard output is another pipe: its rest comes after the mark on standard error.
    const flush = (): void => {
      const end = this.#late.indexOf('\n') + 1;
      const line = this.#late.slice(0, end);
      this.#late = this.#late.slice(end);
      listener.stdout(line);
      if (this.#late !== '') queueMicrotask(flush);
    };
    queueMicrotask(flush);
  }

  /** A route with another gateway is another to `del`, and the one to be replaced to `replace`. */
  #change(verb: string, words: readonly string[]): string | null {
    const after = (name: string) => {
      const at = words.indexOf(name);
      return at < 0 ? undefined : words[at + 1];
    };
    const [first, second] = words;
    const route: Record<string, unknown> =
      first === 'blackhole' ? { type: 'blackhole', metric: Number(after('metric')) } : {};
    const key = first === 'blackhole' ? `blackhole ${second}` : (first ?? '');
    for (const [name, word] of [
      ['gateway', 'via'],
      ['dev', 'dev'],
      ['scope', 'scope'],
    ] as const) {
      if (after(word) !== undefined) route[name] = after(word);
    }
    if (verb === 'add' && this.routes.has(key) && !('metric' in this.routes.get(key)!)) {
      return 'RTNETLINK answers: File exists';
    }
    if (verb === 'replace' || verb === 'add') {
      this.routes.set(key, route);
      return null;
    }
    const there = this.routes.get(key);
    const same = route.gateway === undefined || route.gateway === there?.gateway;
    if (there === undefined || !same) return 'RTNETLINK answers: No such process';
    this.routes.delete(key);
    return null;
  }
}

/** Timers that ring only when told to. */
export class FakeTimers implements Timers {
  readonly waiting = new Set<() => void>();
  /** Stands still unless a test moves it. */
  ms = 0;

  now(): number {
    return this.ms;
  }

  after(_ms: number, call: () => void): () => void {
    this.waiting.add(call);
    return () => this.waiting.delete(call);
  }

  ring(): void {
    for (const call of [...this.waiting]) call();
  }
}

export const realTimers: Timers = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};

/** A new directory, removed when the test ends. */
export function scratch(t: { after(call: () => void): void }): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-host-'));
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Writes `files` (path: text) below `root`. */
export function plant(root: string, files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(root, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text);
  }
}

/** A journal in memory. */
export class FakeJournal {
  routes: readonly string[] = [];
  writes = 0;
  record = (entry: { kind: string; made?: unknown }) => {
    this.writes++;
    this.routes = entry.made as string[];
  };
  forget = () => {
    this.writes++;
    this.routes = [];
  };
}
