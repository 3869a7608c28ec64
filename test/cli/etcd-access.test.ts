/** The files and the password for etcd: what is read, what is refused, what is hidden. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import {
  ETCD_ACCESS,
  ETCD_PLACE,
  hidePassword,
  maskPassword,
  PASSWORD_FILE,
  readEndpoints,
  readEtcdAccess,
  takeEtcdFlags,
  unusedTlsFlags,
} from '../../src/cli/etcd-access.js';
import { parseFlags } from '../../src/cli/flags.js';
import { makeCertificates, noOpenssl } from '../control/store/certificates.js';

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-access-'));
after(() => fs.rmSync(directory, { recursive: true, force: true }));
const file = (name: string, text: string) => {
  fs.writeFileSync(path.join(directory, name), text);
  return path.join(directory, name);
};

const HTTPS = ['https://127.0.0.1:2379'];
const parse = (args: readonly string[]) => parseFlags([...ETCD_ACCESS, PASSWORD_FILE], args);
const read = (args: readonly string[], endpoints = HTTPS, environment = {}) =>
  readEtcdAccess(parse(args), endpoints, environment);

test('the password: from the flag, or from a file without its line end', () => {
  const auth = (...args: string[]) => read(['-etcd-username=u', ...args], ['http://a:1']).auth;
  assert.deepEqual(auth('-etcd-password=p w'), { username: 'u', password: 'p w' });
  for (const text of ['s3cret', 's3cret\n', 's3cret\r\n']) {
    assert.deepEqual(auth(`-etcd-password-file=${file('pw', text)}`)?.password, 's3cret');
  }
  assert.equal(auth(`-etcd-password-file=${file('pw', ' a b \n\n')}`)?.password, ' a b \n');
  assert.equal(read([], ['http://a:1']).auth, undefined);
  assert.throws(
    () => auth(`-etcd-password-file=${file('empty', '\n')}`),
    /empty: the file is empty/,
  );
});

test('endpoints: blanks and empty parts do not count; nothing at all is refused', () => {
  const endpoints = (text: string) =>
    readEndpoints(parseFlags(ETCD_PLACE, [`-etcd-endpoints=${text}`]));
  assert.deepEqual(endpoints('http://a:2379,'), ['http://a:2379']);
  assert.deepEqual(endpoints(',http://a:2379,, http://b:2379/ , '), [
    'http://a:2379',
    'http://b:2379',
  ]);
  for (const none of ['', ',', ' , ']) {
    assert.throws(() => endpoints(none), /no etcd endpoint given; example: http/);
  }
  assert.throws(() => endpoints('http://a:2379 http://b:2379'), /is not of the form/);
});

test('a file that is not there, or a directory, is named with its flag', () => {
  assert.throws(
    () => read(['-etcd-cafile=/nonexistent/ca.pem']),
    /^Error: -etcd-cafile=\/nonexistent\/ca\.pem: there is no such file$/,
  );
  assert.throws(
    () => read(['-etcd-username=u', `-etcd-password-file=${directory}`], ['http://a:1']),
    /-etcd-password-file=\S+: it is a directory$/,
  );
});

test('PEM files: read as they are; others named with their flag', { skip: noOpenssl }, () => {
  const made = makeCertificates(directory);
  const { ca, client, clientKey, otherKey } = made;
  const chained = file(
    'cut.pem',
    fs.readFileSync(ca, 'utf8') + fs.readFileSync(ca, 'utf8').slice(0, 200),
  );
  assert.throws(() => read([`-etcd-cafile=${chained}`]), /cut\.pem: .*cut off in the middle/);
  const all = read([
    `-etcd-cafile=${ca}`,
    `-etcd-certfile=${client}`,
    `-etcd-keyfile=${clientKey}`,
  ]);
  assert.deepEqual(all.credentials?.rootCertificate, fs.readFileSync(ca));
  assert.deepEqual(all.credentials?.certChain, fs.readFileSync(client));
  assert.deepEqual(all.credentials?.privateKey, fs.readFileSync(clientKey));
  const caOnly = read([`-etcd-cafile=${ca}`]).credentials;
  assert.deepEqual(Object.keys(caOnly!), ['rootCertificate']);

  const pair = (cert: string, key: string) =>
    read([`-etcd-cafile=${ca}`, `-etcd-certfile=${cert}`, `-etcd-keyfile=${key}`]);
  const text = file('text', 'hello');
  assert.throws(
    () => read([`-etcd-cafile=${text}`]),
    /-etcd-cafile=\S+text: .*not a PEM certificate/,
  );
  assert.throws(() => pair(text, clientKey), /-etcd-certfile=\S+text: .*not a PEM certificate/);
  assert.throws(() => pair(client, text), /-etcd-keyfile=\S+text: .*PEM key without a passphrase/);
  assert.throws(
    () => pair(client, otherKey),
    /-etcd-keyfile and -etcd-certfile: .*belong together/,
  );
  const locked = path.join(directory, 'locked.key');
  execFileSync(
    'openssl',
    ['ec', '-in', clientKey, '-aes256', '-passout', 'pass:x', '-out', locked],
    {
      stdio: 'ignore',
    },
  );
  assert.throws(() => pair(client, locked), /-etcd-keyfile=\S+locked\.key: .*without a passphrase/);
  // No file of ours: those of the system, where SSL_CERT_FILE is looked at first, as by flanneld.
  const system = read([], HTTPS, { SSL_CERT_FILE: ca }).credentials;
  assert.deepEqual(system?.rootCertificate, fs.readFileSync(ca));
});

test('http:// endpoints leave the files without effect, and they are named', () => {
  const args = ['-etcd-cafile=/a', '-etcd-certfile=/b', '-etcd-keyfile=/c'];
  const names = ['etcd-cafile', 'etcd-certfile', 'etcd-keyfile'];
  assert.deepEqual(unusedTlsFlags(parse(args), ['http://a:1']), names);
  assert.deepEqual(unusedTlsFlags(parse(args), HTTPS), []);
  assert.deepEqual(read(args, ['http://a:1']), {});
});

test('the password is masked in every form a flag has, and nothing else is', () => {
  const argv = [
    ...['weft', 'up', '-etcd-password=a b', '--etcd-password=x=y', '-etcd-password', 'p', '-v=1'],
    ...['--etcd-password', '-q', '-etcd-password-file=/f', '-etcd-username=u'],
  ];
  assert.deepEqual(maskPassword(argv), [
    ...['weft', 'up', '-etcd-password=***', '--etcd-password=***', '-etcd-password', '***', '-v=1'],
    ...['--etcd-password', '***', '-etcd-password-file=/f', '-etcd-username=u'],
  ]);
});

test('what children inherit has no password', () => {
  const environment = { FLANNELD_ETCD_PASSWORD: 'p', FLANNELD_ETCD_USERNAME: 'u' };
  assert.equal(hidePassword(['weft', 'up', '-v=1'], environment), false);
  assert.deepEqual(environment, { FLANNELD_ETCD_USERNAME: 'u' });
});

test('how long certificates are valid: the own one, and a CA that is alone', {
  skip: noOpenssl,
}, () => {
  const made = makeCertificates(directory);
  const names = (...flags: string[]) => read(flags).certificates?.map(({ name }) => name);
  const own = [`-etcd-certfile=${made.client}`, `-etcd-keyfile=${made.clientKey}`];
  const ca = `-etcd-cafile=${made.ca}`;
  assert.deepEqual(names(...own, ca), [own[0], ca]);
  const [one] = read([ca]).certificates!;
  assert.equal(one!.ends.getTime() - one!.begins.getTime(), 2 * 86_400_000);
  // Of several, and of the system's, one may have ended that nothing hangs on.
  const both = file('both.pem', fs.readFileSync(made.ca, 'utf8') + fs.readFileSync(made.otherCa));
  assert.deepEqual(names(`-etcd-cafile=${both}`), []);
  assert.deepEqual(read([], HTTPS, { SSL_CERT_FILE: made.ca }).certificates, []);
  assert.equal(read([ca], ['http://a:1']).certificates, undefined);
});

test('halves of a pair are refused by name, and pairs are taken; the password is hidden then', () => {
  const all = [...ETCD_PLACE, ...ETCD_ACCESS, PASSWORD_FILE];
  const title = process.title;
  const take = (environment: NodeJS.ProcessEnv, ...args: string[]) =>
    takeEtcdFlags(parseFlags(all, args, environment), ['weft', 'up'], environment);
  const refused: readonly (readonly [readonly string[], RegExp])[] = [
    [['-etcd-certfile=a'], /^-etcd-certfile is given without -etcd-keyfile$/],
    [['-etcd-keyfile=a'], /^-etcd-keyfile is given without -etcd-certfile$/],
    [['-etcd-username=a'], /^-etcd-username is given without /],
    [['-etcd-password=a'], /^a password for etcd is given without -etcd-username$/],
    [['-etcd-username=a', '-etcd-password=a', '-etcd-password-file=b'], /give one of them$/],
  ];
  for (const [args, message] of refused) assert.throws(() => take({}, ...args), { message });
  const environment = { FLANNELD_ETCD_PASSWORD: 'secret' };
  const pairs = ['-etcd-certfile=a', '-etcd-keyfile=b', '-etcd-username=c', '-etcd-prefix=/p'];
  const { prefix, warnings } = take(environment, ...pairs);
  assert.equal(prefix, '/p');
  assert.deepEqual(
    warnings.map((line) => line.split(' ')[0]),
    ['-etcd-certfile', '-etcd-keyfile'],
  );
  assert.deepEqual([environment, process.title], [{}, title]);
});
