/**
 * Where etcd is, and how weft proves to it who it is, and etcd to weft: the files and the password
 * that flanneld's flags name. No secret gets into a message, a log line or the status.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import { createSecureContext } from 'node:tls';
import { quoted } from '../control/shell.js';
import type { Access } from '../control/store/access.js';
import { checkEndpoints } from '../control/store/endpoints.js';
import { type Certificate, messageOf } from '../control/store/store.js';
import { type Flag, type Flags, UsageError, variableOf } from './flags.js';

export const ETCD_PLACE: readonly Flag[] = [
  {
    name: 'etcd-endpoints',
    kind: 'string',
    help: 'etcd, as a comma-separated list of URLs',
    default: 'http://127.0.0.1:4001,http://127.0.0.1:2379',
  },
  {
    name: 'etcd-prefix',
    kind: 'string',
    help: 'the key below which the network lives in etcd',
    default: '/coreos.com/network',
  },
];

export const ETCD_ACCESS: readonly Flag[] = [
  {
    name: 'etcd-cafile',
    kind: 'string',
    value: 'path',
    takes: 'file',
    help: "the CA that signed etcd's certificate, PEM; enough alone (default: the system's CAs)",
  },
  {
    name: 'etcd-certfile',
    kind: 'string',
    value: 'path',
    takes: 'file',
    help: 'the certificate that weft shows to etcd, PEM; with -etcd-keyfile',
  },
  {
    name: 'etcd-keyfile',
    kind: 'string',
    value: 'path',
    takes: 'file',
    help: 'the key of -etcd-certfile, PEM, not encrypted',
  },
  {
    name: 'etcd-username',
    kind: 'string',
    help: "the user, where etcd's authentication is on",
  },
  {
    name: 'etcd-password',
    kind: 'string',
    help: 'the password; better in -etcd-password-file or FLANNELD_ETCD_PASSWORD: every user of this host can read a command line',
  },
];

/** weft's own beside them. */
export const PASSWORD_FILE: Flag = {
  name: 'etcd-password-file',
  kind: 'string',
  value: 'path',
  takes: 'file',
  help: 'a file with the password for -etcd-username; a line end after it does not count',
};

/** Where distributions keep the CAs that a host trusts; Node brings a list of its own. */
const SYSTEM_CAS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
];

/**
 * An empty part, as a comma at the end makes one, is no endpoint; flanneld never reaches one there.
 * Throws a UsageError for what is no list of URLs of one scheme.
 */
export function readEndpoints(flags: Flags): string[] {
  try {
    const parts = flags.text('etcd-endpoints').split(',');
    return checkEndpoints(parts.filter((part) => part.trim() !== ''));
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

/** How a command gets at etcd, as its flags say. */
export interface EtcdAccess {
  readonly endpoints: readonly string[];
  readonly prefix: string;
  /** The same for etcdctl, in one line for a shell; it asks for the password itself. */
  readonly etcdctlFlags: string;
  /** What the operator should know of the flags, a line each. */
  readonly warnings: readonly string[];
  /** Reads the files anew: see `readEtcdAccess`. */
  readonly readAccess: () => Access;
}

/**
 * Takes the flags, and the password out of what others can read. No file is read yet. Throws a
 * UsageError.
 * @param argv with which the command can be told from others: `weft up -v=1`
 */
export function takeEtcdFlags(
  flags: Flags,
  argv: readonly string[],
  environment: NodeJS.ProcessEnv,
): EtcdAccess {
  checkEtcdAccess(flags);
  const wasVisible = hidePassword(argv, environment);
  const endpoints = readEndpoints(flags);
  return {
    ...{ endpoints, prefix: flags.text('etcd-prefix') },
    etcdctlFlags: etcdctlFlags(flags, endpoints),
    warnings: etcdWarnings(flags, endpoints, wasVisible),
    readAccess: () => readEtcdAccess(flags, endpoints, environment),
  };
}

const OF_ETCDCTL: readonly (readonly [flag: string, etcdctls: string])[] = [
  ['etcd-cafile', 'cacert'],
  ['etcd-certfile', 'cert'],
  ['etcd-keyfile', 'key'],
  ['etcd-username', 'user'],
];

/** `--cacert=/etc/ssl/ca.pem --user=weft`; never the password. */
export function etcdctlFlags(flags: Flags, endpoints: readonly string[]): string {
  const unused = unusedTlsFlags(flags, endpoints);
  const words = OF_ETCDCTL.flatMap(([name, word]) => {
    const value = flags.text(name);
    return value === '' || unused.includes(name) ? [] : [`--${word}=${quoted(value)}`];
  });
  return words.join(' ');
}

/** Throws a UsageError for a half of a pair: flanneld goes on without, unencrypted or unnamed. */
function checkEtcdAccess(flags: Flags): void {
  const has = (name: string) => flags.text(name) !== '';
  for (const [one, other] of [
    ['etcd-certfile', 'etcd-keyfile'],
    ['etcd-keyfile', 'etcd-certfile'],
  ] as const) {
    if (has(one) && !has(other)) throw new UsageError(`-${one} is given without -${other}`);
  }
  const password = has('etcd-password') || has('etcd-password-file');
  if (has('etcd-password') && has('etcd-password-file')) {
    throw new UsageError('-etcd-password and -etcd-password-file: give one of them');
  }
  if (has('etcd-username') && !password) {
    throw new UsageError('-etcd-username is given without -etcd-password-file or -etcd-password');
  }
  if (password && !has('etcd-username')) {
    throw new UsageError('a password for etcd is given without -etcd-username');
  }
}

/**
 * Reads the files. Throws an Error that names the flag, the file and what is wrong.
 * @param endpoints the scheme of the first counts for all
 */
export function readEtcdAccess(
  flags: Flags,
  endpoints: readonly string[],
  environment: NodeJS.ProcessEnv,
): Access {
  const encrypted = endpoints[0]?.startsWith('https:') === true;
  const credentials = encrypted ? readCredentials(flags, environment) : undefined;
  const certificates = credentials === undefined ? [] : certificatesIn(flags, credentials);
  const username = flags.text('etcd-username');
  const auth = username === '' ? undefined : { username, password: readPassword(flags) };
  return { ...(credentials && { credentials, certificates }), ...(auth && { auth }) };
}

/** What the operator should know of the flags, a line each. */
function etcdWarnings(
  flags: Flags,
  endpoints: readonly string[],
  passwordWasVisible: boolean,
): string[] {
  const unused = unusedTlsFlags(flags, endpoints).map(
    (name) => `-${name} has no effect: the endpoints begin with http://, so nothing is encrypted`,
  );
  if (!passwordWasVisible) return unused;
  const visible =
    'the password of etcd was on the command line, where every user of this host could read it ' +
    'until now; better: -etcd-password-file or FLANNELD_ETCD_PASSWORD';
  return [visible, ...unused];
}

/** The TLS flags that http:// endpoints leave without effect; flanneld only warns as well. */
export function unusedTlsFlags(flags: Flags, endpoints: readonly string[]): string[] {
  if (endpoints[0]?.startsWith('https:')) return [];
  return ['etcd-cafile', 'etcd-certfile', 'etcd-keyfile'].filter((name) => flags.text(name) !== '');
}

/**
 * Takes the password out of what others can read: the environment that children inherit, and, as
 * far as the kernel lets a process, its own command line. True when it stood on the latter.
 */
export function hidePassword(argv: readonly string[], environment: NodeJS.ProcessEnv): boolean {
  delete environment[variableOf('FLANNELD_', 'etcd-password')];
  const masked = maskPassword(argv);
  if (masked.join('\0') === argv.join('\0')) return false;
  process.title = masked.join(' ');
  return true;
}

/** The command line with each password in it replaced. */
export function maskPassword(argv: readonly string[]): string[] {
  return argv.map((argument, i) => {
    if (/^--?etcd-password$/.test(argv[i - 1] ?? '')) return '***';
    return argument.replace(/^(--?etcd-password=).*$/s, '$1***');
  });
}

function readCredentials(flags: Flags, environment: NodeJS.ProcessEnv): Access['credentials'] {
  const ca = read(flags, 'etcd-cafile', isCertificate);
  const rootCertificate = ca ?? systemCas(environment);
  const certChain = read(flags, 'etcd-certfile', isCertificate);
  const privateKey = read(flags, 'etcd-keyfile', (pem) => void createPrivateKey(pem));
  if (certChain !== undefined && privateKey !== undefined) {
    try {
      createSecureContext({ cert: certChain, key: privateKey });
    } catch (error) {
      const files = `${flags.text('etcd-keyfile')} and ${flags.text('etcd-certfile')}`;
      throw new Error(
        `-etcd-keyfile and -etcd-certfile: ${files} do not belong together (${messageOf(error)})`,
      );
    }
  }
  if (rootCertificate === undefined && certChain === undefined) return undefined;
  return {
    ...(rootCertificate && { rootCertificate }),
    ...(privateKey && certChain && { privateKey, certChain }),
  };
}

/**
 * How long they are valid: the one that weft shows, and a CA that is alone in its file. Of several, and
 * of the system's, some may have ended that nothing hangs on.
 */
function certificatesIn(
  flags: Flags,
  { certChain, rootCertificate }: NonNullable<Access['credentials']>,
): Certificate[] {
  const isAlone = (pem: Buffer) => pem.toString('latin1').split('-----BEGIN ').length === 2;
  const of = (name: string, pem: Buffer | undefined): Certificate[] => {
    const file = flags.text(name);
    if (file === '' || pem === undefined) return [];
    const { validFrom, validTo } = new X509Certificate(pem);
    return [{ name: `-${name}=${file}`, begins: new Date(validFrom), ends: new Date(validTo) }];
  };
  const ca =
    rootCertificate !== undefined && isAlone(rootCertificate) ? rootCertificate : undefined;
  return [...of('etcd-certfile', certChain), ...of('etcd-cafile', ca)];
}

/** SSL_CERT_FILE is what Go's programs, and so flanneld, look at first. */
function systemCas(environment: NodeJS.ProcessEnv): Buffer | undefined {
  const named = environment.SSL_CERT_FILE ?? '';
  for (const file of named === '' ? SYSTEM_CAS : [named]) {
    try {
      return fs.readFileSync(file);
    } catch {
      // Not this distribution's place.
    }
  }
  return undefined;
}

/** Of a list the first is looked at, and that none was cut off: it may be written just now. */
function isCertificate(pem: Buffer): void {
  new X509Certificate(pem);
  const count = (mark: string) => pem.toString('latin1').split(mark).length;
  if (count('-----BEGIN ') !== count('-----END ')) throw new Error('cut off in the middle');
}

function read(flags: Flags, name: string, check: (pem: Buffer) => void): Buffer | undefined {
  const file = flags.text(name);
  if (file === '') return undefined;
  const pem = readFile(name, file);
  try {
    check(pem);
    return pem;
  } catch (error) {
    const kind = name === 'etcd-keyfile' ? 'key without a passphrase' : 'certificate';
    throw new Error(`-${name}=${file}: this is not a PEM ${kind} (${messageOf(error)})`);
  }
}

function readPassword(flags: Flags): string {
  const file = flags.text('etcd-password-file');
  if (file === '') return flags.text('etcd-password');
  const password = readFile('etcd-password-file', file)
    .toString()
    .replace(/\r?\n$/, '');
  if (password === '') throw new Error(`-etcd-password-file=${file}: the file is empty`);
  return password;
}

function readFile(name: string, file: string): Buffer {
  try {
    return fs.readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EISDIR'
          ? 'it is a directory'
          : code === 'EACCES'
            ? 'weft may not read it'
            : messageOf(error);
    throw new Error(`-${name}=${file}: ${why}`);
  }
}
