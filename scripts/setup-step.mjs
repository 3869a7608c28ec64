/**
 * How the set-up speaks and runs programs: a line a step on stderr, with how long it took. What the
 * programs say goes to a file; its end is shown when one fails. Imports only `node:` modules.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';

/** Below the project's root, in which the set-up runs. */
export const LOG = '.cache/setup.log';
let opened = false;
/** Characters of a program's output that are looked into for why it failed. */
const KEPT = 100_000;

export function say(line) {
  process.stderr.write(`weft setup: ${line}\n`);
}

export function fail(line) {
  say(line);
  process.exit(1);
}

/** The last lines that a program said, and where all of it is. */
export function ending(output, lines = 8) {
  const all = output.split(/[\r\n]+/).filter((line) => line.trim() !== '');
  return [...all.slice(-lines).map((line) => `    ${line}`), `    (all of it: ${LOG})`].join('\n');
}

/**
 * What no network looks like in the words of apt and npm; gives the line that says so, or undefined.
 */
export function unreachable(output) {
  const signs =
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|(?:failure|not) resolv|Could not connect|Cannot initiate the connection|Network is unreachable|Connection (?:failed|timed out)/i;
  const lines = output.split('\n').filter((line) => signs.test(line));
  // npm says the code alone first, then a sentence.
  const line = lines.find((one) => /request to|getaddrinfo|connect/i.test(one)) ?? lines[0];
  return line?.replace(/^(?:npm (?:ERR!|error)|[EW]:|Err:\d+)\s*/, '').trim();
}

/**
 * Runs a program as the step `what`. Gives `{ok, missing, why, output}`: `missing` where there is no such
 * program, `output` is the end of what it said.
 */
export async function step(what, command, args, { env = {} } = {}) {
  fs.mkdirSync(path.dirname(LOG), { recursive: true });
  const log = fs.openSync(LOG, opened ? 'a' : 'w');
  opened = true;
  fs.writeSync(log, `\n=== ${what}: ${command} ${args.join(' ')}\n`);
  const start = Date.now();
  const head = `weft setup: ${what} …`;
  const seconds = () => `${Math.round((Date.now() - start) / 1000)} s`;
  process.stderr.write(head);
  const shown = process.stderr.isTTY
    ? setInterval(() => process.stderr.write(`\r${head} ${seconds()}`), 1000)
    : undefined;
  let output = '';
  const done = await new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => {
        fs.writeSync(log, text);
        output = (output + text).slice(-KEPT);
      });
    }
    child.once('error', (error) => resolve({ code: null, error }));
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  clearInterval(shown);
  fs.closeSync(log);
  const ok = done.code === 0;
  const why = done.error?.message ?? `exit ${done.code ?? done.signal}`;
  process.stderr.write(
    `${shown === undefined ? '' : `\r${head}`} ${ok ? '' : 'failed after '}${seconds()}\n`,
  );
  return { ok, missing: done.error?.code === 'ENOENT', why, output };
}
