/**
 * Limits of this process that would end it on the way, in V8's or libuv's own words: each is found
 * before anything is changed, and told with what to do about it.
 */
import fs from 'node:fs';
import path from 'node:path';

/** Where the kernel tells them. */
export interface LimitPlaces {
  readonly proc: string;
  /** Where control groups are mounted. */
  readonly cgroups: string;
}

/** Threads of Node itself: the main one, V8's and libuv's four each, and two that wait. */
const NODE_THREADS = 11;
/** `ip` twice, what is asked for a moment, and a `weft status` in the same container. */
const OTHER_TASKS = 8;
/** What the thread of a lane reserves beside its memory, and what the rest of weft still takes. */
const THREAD_SPACE = 0.7 * 2 ** 30;
const REST_SPACE = 2 ** 30;
/** Its connections to etcd, the programs that it asks, status clients, and one socket a peer. */
const DESCRIPTORS = 96;

/**
 * Why so many threads of lanes cannot run beside weft's own; null where they can. `wanted`: as many
 * as there are to be once the least can.
 */
export function checkTasks(threads: number, places: LimitPlaces, wanted = threads): string | null {
  const room = taskRoom(places);
  const missing = Math.max(0, NODE_THREADS - ownThreads(places.proc));
  const least = missing + OTHER_TASKS;
  if (room === undefined || room.left >= least + threads) return null;
  const needed = least + wanted;
  return (
    `no more than ${Math.max(0, room.left)} threads and processes can be added here (${room.what}), ` +
    `and weft needs ${needed}: set ${room.setting} to ${room.limit + needed - room.left} at least`
  );
}

/** Why V8 has not the address space for so many threads of lanes; null where it has. */
export function checkSpace(threads: number, { proc }: LimitPlaces): string | null {
  const limit = softLimit(proc, 'Max address space');
  const size = statusNumber(proc, 'VmSize');
  if (limit === undefined || size === undefined) return null;
  const left = limit - size * 1024;
  return left >= threads * THREAD_SPACE + REST_SPACE ? null : describeSpace(limit);
}

/** Of a memory that V8 could not reserve. `limit` in bytes. */
export function describeSpace(limit: number): string {
  const gib = Math.floor(limit / 2 ** 30);
  const given = Number.isFinite(limit) ? ` (it is ${gib} GiB)` : '';
  return (
    `the address space is limited${given}, and V8 reserves 11 GiB of it, not of memory, for each ` +
    "lane's thread: take LimitAS= out of its unit, or ulimit -v out of its script; where Node " +
    'knows it, NODE_OPTIONS=--disable-wasm-trap-handler does with less'
  );
}

/** In bytes; infinite where there is none or it is not told. */
export function addressSpaceLimit({ proc }: LimitPlaces): number {
  return softLimit(proc, 'Max address space') ?? Number.POSITIVE_INFINITY;
}

/** Why there are too few descriptors; null where there are enough. */
export function checkDescriptors({ proc }: LimitPlaces): string | null {
  const limit = softLimit(proc, 'Max open files');
  if (limit === undefined || limit >= DESCRIPTORS) return null;
  return (
    `no more than ${limit} files may be open, and weft needs ${DESCRIPTORS} and one more for each ` +
    'peer: set LimitNOFILE= in its unit, or --ulimit nofile= for its container, to 65536'
  );
}

interface Room {
  /** How many may be added. */
  readonly left: number;
  readonly limit: number;
  readonly what: string;
  /** By which an operator widens it. */
  readonly setting: string;
}

/** The narrowest of the limits on threads and processes; undefined where there is none. */
function taskRoom({ proc, cgroups }: LimitPlaces): Room | undefined {
  const rooms = [...cgroupRooms(proc, cgroups), ...userRoom(proc)];
  return rooms.sort((one, other) => one.left - other.left)[0];
}

/**
 * Of this process's control group and those above it, as far as they are to be seen: pids.max, of
 * version 2 or of version 1's pids controller.
 */
function cgroupRooms(proc: string, cgroups: string): Room[] {
  const lines = readText(`${proc}/self/cgroup`).split('\n');
  const rooms: Room[] = [];
  for (const line of lines) {
    const [, controllers, group = '/'] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined) continue;
    const mounts = controllers === '' ? ['', 'unified'] : ['pids'];
    if (controllers !== '' && !controllers.split(',').includes('pids')) continue;
    for (const mount of mounts) {
      for (let at = path.normalize(group); ; at = path.dirname(at)) {
        const folder = path.join(cgroups, mount, at);
        const limit = readNumber(path.join(folder, 'pids.max'));
        const now = readNumber(path.join(folder, 'pids.current'));
        if (limit !== undefined && now !== undefined) {
          rooms.push({
            ...{ left: limit - now, limit, what: `${path.join(folder, 'pids.max')} is ${limit}` },
            setting: 'TasksMax= in its unit, --pids-limit for its container,',
          });
        }
        if (at === '/' || at === '.') break;
      }
    }
  }
  return rooms;
}

/** RLIMIT_NPROC, which counts all of a user's threads, and root's not at all. */
function userRoom(proc: string): Room[] {
  const user = userOf(proc, 'self');
  const limit = softLimit(proc, 'Max processes');
  if (user === undefined || user === '0' || limit === undefined || limit === Infinity) return [];
  let now = 0;
  for (const name of readNames(proc)) {
    if (/^\d+$/.test(name) && userOf(proc, name) === user) now += ownThreads(proc, name);
  }
  const what = `RLIMIT_NPROC is ${limit} for all that user ${user} runs`;
  return [{ left: limit - now, limit, what, setting: 'LimitNPROC= in its unit, or ulimit -u,' }];
}

function userOf(proc: string, process: string): string | undefined {
  return /^Uid:\s*(\d+)/m.exec(readText(`${proc}/${process}/status`))?.[1];
}

function ownThreads(proc: string, process = 'self'): number {
  return statusNumber(proc, 'Threads', process) ?? 0;
}

function statusNumber(proc: string, field: string, process = 'self'): number | undefined {
  const status = readText(`${proc}/${process}/status`);
  const text = new RegExp(`^${field}:\\s*(\\d+)`, 'm').exec(status)?.[1];
  return text === undefined ? undefined : Number(text);
}

/** Infinity for none; undefined where it cannot be read. */
function softLimit(proc: string, name: string): number | undefined {
  // Max open files            1024                 524288               files
  const text = new RegExp(`^${name}\\s+(\\S+)`, 'm').exec(readText(`${proc}/self/limits`))?.[1];
  if (text === undefined) return undefined;
  return text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text);
}

/** Undefined for `max` and for what is not there. */
function readNumber(file: string): number | undefined {
  const text = readText(file).trim();
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

function readText(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function readNames(folder: string): string[] {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
}
