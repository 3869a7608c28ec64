/** Which kinds of sockets this process may make. A hardened unit names those that it may. */
import dgram from 'node:dgram';
import net from 'node:net';
import os from 'node:os';
import { getSystemErrorName } from 'node:util';
import { errnoOf } from './errors.js';

/** A kind of socket: what weft has it for, and what making one leads to; an errno name or ''. */
interface Family {
  readonly name: string;
  readonly use: string;
  readonly make: () => Promise<string> | string;
}

/** Nobody listens there, and no folder's permissions matter. */
const NOWHERE = '/proc/self/weft-asks-for-a-socket';

const FAMILIES: readonly Family[] = [
  { name: 'AF_UNIX', use: 'its status and systemd', make: connectNowhere },
  { name: 'AF_NETLINK', use: 'ip and the firewall programs', make: listLinks },
  { name: 'AF_INET', use: 'the packets', make: bindLoopback },
];

/** What a filter answers with; anything else (ENOENT, EMFILE) is no word about the family. */
const REFUSALS = new Set(['EAFNOSUPPORT', 'EPERM', 'EACCES']);

/** One sentence that names the kinds that are refused and where they are allowed; null if none is. */
export async function checkFamilies(families = FAMILIES): Promise<string | null> {
  const asked = await Promise.all(
    families.map(async (one) => ({ ...one, code: await one.make() })),
  );
  const refused = asked.filter(({ code }) => REFUSALS.has(code));
  if (refused.length === 0) return null;
  const told = refused.map(
    ({ name, use, code }) => `${name} (${code}), which weft needs for ${use}`,
  );
  return (
    `no socket may be made of ${told.join(', nor of ')}; allow it: in a unit by ` +
    'RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6 (and @network-io in ' +
    "SystemCallFilter=), in a container by the engine's seccomp profile"
  );
}

function connectNowhere(): Promise<string> {
  return new Promise((resolve) => {
    const connection = net.connect(NOWHERE);
    connection.once('connect', () => {
      connection.destroy();
      resolve('');
    });
    connection.once('error', (error) => resolve(errnoOf(error)));
  });
}

function bindLoopback(): Promise<string> {
  return new Promise((resolve) => {
    const socket = dgram.createSocket('udp4');
    const done = (code: string) => socket.close(() => resolve(code));
    socket.once('error', (error) => done(errnoOf(error)));
    socket.bind(0, '127.0.0.1', () => done(''));
  });
}

/** Node asks the kernel for them by a socket of AF_NETLINK, and gives its number, of either sign. */
function listLinks(): string {
  try {
    os.networkInterfaces();
    return '';
  } catch (error) {
    const { errno } = error as { errno?: unknown };
    return typeof errno === 'number' ? getSystemErrorName(-Math.abs(errno)) : errnoOf(error);
  }
}
