/** A CA and what it signed, made by openssl for one test. */
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

/** Why there is no openssl here, for `skip`; false when there is one. */
export const noOpenssl: string | false =
  spawnSync('openssl', ['version']).status === 0 ? false : 'needs openssl, of the package openssl';

export interface Certificates {
  readonly ca: string;
  readonly server: string;
  readonly serverKey: string;
  readonly client: string;
  readonly clientKey: string;
  /** A CA that signed nothing, and its key. */
  readonly otherCa: string;
  readonly otherKey: string;
}

/** @param addresses those of the server, beside 127.0.0.1 */
export function makeCertificates(directory: string, ...addresses: string[]): Certificates {
  const at = (name: string) => path.join(directory, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  for (const name of ['ca', 'other-ca']) {
    const files = ['-keyout', at(`${name}.key`), '-out', at(`${name}.pem`)];
    openssl('req', '-x509', ...key, ...files, '-subj', `/CN=test ${name}`, '-days', '2');
  }
  const names = ['127.0.0.1', ...addresses].map((address) => `IP:${address}`);
  for (const [name, extensions] of [
    ['server', `subjectAltName=${names.join(',')},DNS:localhost\nextendedKeyUsage=serverAuth`],
    ['client', 'extendedKeyUsage=clientAuth'],
  ] as const) {
    const request = ['-keyout', at(`${name}.key`), '-out', at(`${name}.csr`)];
    openssl('req', ...key, ...request, '-subj', `/CN=test ${name}`);
    fs.writeFileSync(at(`${name}.ext`), `${extensions}\n`);
    const signer = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial'];
    const what = [
      '-in',
      at(`${name}.csr`),
      '-out',
      at(`${name}.pem`),
      '-extfile',
      at(`${name}.ext`),
    ];
    openssl('x509', '-req', ...what, ...signer, '-days', '2');
  }
  return {
    ca: at('ca.pem'),
    server: at('server.pem'),
    serverKey: at('server.key'),
    client: at('client.pem'),
    clientKey: at('client.key'),
    otherCa: at('other-ca.pem'),
    otherKey: at('other-ca.key'),
  };
}
