/**
 * What systemd is told (sd_notify(3)): READY once packets flow, STATUS whenever it changes,
 * WATCHDOG as long as the main thread and every lane turn, RELOADING and READY around a reload,
 * STOPPING when the way out begins.
 */
import { plain } from '../../operate/status/plain.js';
import type { Clock } from '../runtime.js';

/** What the daemon is just now. */
export interface Look {
  readonly ready: boolean;
  /** One line. */
  readonly status: string;
  /** Whether every lane turns. */
  readonly alive: boolean;
}

export interface SystemdOptions {
  /** NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are taken out, so that no child inherits them. */
  readonly environment: NodeJS.ProcessEnv;
  readonly pid: number;
  /** Sends one datagram; throws when it cannot. */
  readonly send: (path: string, text: string) => void;
  readonly clock: Clock;
  readonly look: () => Look;
  /** CLOCK_MONOTONIC in microseconds, which systemd compares with its own. */
  readonly monotonic: () => bigint;
}

export interface Systemd {
  /** Tells at once what changed, which else waits for the next turn. */
  tell(): void;
  /** How the way out is told, with its reason. */
  stopping(reason: string): void;
  /** Tells that weft reloads, and when it has. */
  reloading(work: () => Promise<void>): Promise<void>;
}

const EVERY_MS = 1_000;
/** A lane that has nothing to do turns four times a second. */
const SHORTEST_MS = 300;

/** Undefined where nobody asked to be told. */
export function tellSystemd(options: SystemdOptions): Systemd | undefined {
  const { environment, pid, clock, look } = options;
  const { NOTIFY_SOCKET: path = '', WATCHDOG_USEC = '0', WATCHDOG_PID = '' } = environment;
  delete environment.NOTIFY_SOCKET;
  delete environment.WATCHDOG_USEC;
  delete environment.WATCHDOG_PID;
  if (path === '') return undefined;
  const watched = WATCHDOG_PID === '' || WATCHDOG_PID === String(pid);
  const watchdogMs = watched ? Number(WATCHDOG_USEC) / 1000 : 0;
  const everyMs =
    watchdogMs > 0 ? Math.min(EVERY_MS, Math.max(SHORTEST_MS, watchdogMs / 2)) : EVERY_MS;

  const send = (lines: readonly string[]): boolean => {
    try {
      options.send(path, `${lines.join('\n')}\n`);
      return true;
    } catch {
      // Full, or systemd restarts: whatever was to be told is told at the next turn.
      return false;
    }
  };
  let told = '';
  let ready = false;

  const turn = (): void => {
    cancel();
    const now = look();
    const lines: string[] = [];
    if (now.ready && !ready) lines.push('READY=1');
    if (now.status !== told) lines.push(`STATUS=${oneLine(now.status)}`);
    if (watchdogMs > 0 && now.alive) lines.push('WATCHDOG=1');
    if (lines.length > 0 && send(lines)) {
      ready = now.ready;
      told = now.status;
    }
    cancel = clock.after(everyMs, turn);
  };
  let cancel = () => {};
  turn();
  return {
    tell: turn,
    stopping(reason) {
      cancel();
      send(['STOPPING=1', `STATUS=${oneLine(`stopping: ${reason}`)}`]);
    },
    async reloading(work) {
      if (!ready) {
        await work();
        return;
      }
      send(['RELOADING=1', `MONOTONIC_USEC=${options.monotonic()}`]);
      await work();
      // At the next turn, if it cannot be told now.
      ready = send(['READY=1']);
    },
  };
}

function oneLine(text: string): string {
  return plain(text.replaceAll(/\s+/g, ' '), 1000);
}
