/**
 * Why there may be no network config: it was put at the prefix itself, or with etcd's old v2
 * API, whose keys the v3 API does not see.
 */

import https from 'node:https';
import { createRequire } from 'node:module';
import path from 'node:path';
import { quoted } from '../shell.js';
import type { Credentials } from './dial.js';
import { isObject, parseJson } from './json.js';

/**
 * Taken by require: for an `import`, Node 22 looks at all that the module has, for which it makes a
 * WebAssembly of its own, which costs memory and is not there on every host.
 */
const http = createRequire(import.meta.url)('node:http') as typeof import('node:http');

export interface HintSource {
  readonly configKey: string;
  readonly endpoints: readonly string[];
  /** What etcdctl needs beside --endpoints; empty where nothing. */
  readonly etcdctlFlags: string;
  readonly credentials: Credentials | undefined;
  read(key: string): Promise<string | undefined>;
}

const EXAMPLE = '{"Network":"10.10.0.0/16","Backend":{"Type":"vxlan"}}';
const V2_TIMEOUT_MS = 2_000;

/** One sentence with the exact command that puts the config where it is looked for. */
export async function hintForMissingConfig(source: HintSource): Promise<string> {
  const { configKey } = source;
  const prefix = path.posix.dirname(configKey);
  const misplaced = await source.read(prefix);
  if (misplaced !== undefined) {
    const put = putCommand(source, misplaced);
    return `there is a value at ${prefix}, did you mean ${configKey}? Put it there with: ${put}`;
  }
  for (const endpoint of source.endpoints) {
    const old = await readV2(`${endpoint}/v2/keys/${configKey.replace(/^\//, '')}`, source);
    if (old === undefined) continue;
    const put = putCommand(source, old);
    return `${configKey} is there in the v2 API of etcd only, put it again with the v3 API: ${put}`;
  }
  return `put one with: ${putCommand(source, EXAMPLE)}`;
}

function putCommand({ endpoints, etcdctlFlags, configKey }: HintSource, value: string): string {
  const flags = etcdctlFlags === '' ? '' : `${etcdctlFlags} `;
  const command = `etcdctl ${flags}--endpoints=${quoted(endpoints.join(','))}`;
  return `ETCDCTL_API=3 ${command} put ${quoted(configKey)} ${quoted(oneLine(value))}`;
}

function oneLine(value: string): string {
  try {
    return JSON.stringify(parseJson(value));
  } catch {
    return value.replaceAll(/\s+/g, ' ').trim();
  }
}

/** The value that the v2 API has at a URL; undefined when it has none or does not speak v2. */
function readV2(url: string, { credentials }: HintSource): Promise<string | undefined> {
  const get = url.startsWith('https:') ? https.get : http.get;
  const tls = credentials && {
    ca: credentials.rootCertificate,
    key: credentials.privateKey,
    cert: credentials.certChain,
  };
  return new Promise((resolve) => {
    const request = get(url, { ...tls, timeout: V2_TIMEOUT_MS, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        body += part;
      });
      response.on('error', () => resolve(undefined));
      response.on('end', () => resolve(response.statusCode === 200 ? nodeValue(body) : undefined));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(undefined));
    request.on('close', () => resolve(undefined));
  });
}

/** `{"action":"get","node":{"key":"…","value":"…"}}` */
function nodeValue(body: string): string | undefined {
  try {
    const answer = parseJson(body);
    const node = isObject(answer) ? answer.node : undefined;
    return isObject(node) && typeof node.value === 'string' ? node.value : undefined;
  } catch {
    return undefined;
  }
}
