/**
 * The README's `npm test` as a newcomer meets it: this commit's files on a fresh Debian on which there
 * is Node and nothing else. Takes as long as the tests do, and minutes more, so it is a program of its
 * own:
 *
 *     npm run test-fresh -- [--debian=12|13] [--node=20|22|24|26[,…]] [--user=plain|tun] [part …]
 *
 * `part …` is handed to `npm test`; without it, all tests run. More than one Node: one after the other
 * on the same machine. --user=plain runs them as a user without rights, for whom an administrator has run
 * the line that the set-up gave; --user=tun lets that user open /dev/net/tun, too. Everything that is
 * printed also goes to a file, which is named at the end, beside what was skipped and why.
 */
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { skipAll } from '../packages/arguments.js';
import { freshCommand, makeRoot, rootLacks } from '../packages/root.js';
import { orUsage } from '../usage.js';

const RELEASES: Record<string, string> = { 12: 'bookworm', 13: 'trixie' };
/** The npm that comes with each Node. */
const NPM: Record<string, string> = { 20: '10', 22: '10', 24: '11', 26: '11' };
const CACHE = path.resolve('.cache');

/** Node with its headers and npm, laid out as in Node's own archive; from the registry's packages. */
function nodeArchive(major: string): string {
  const file = path.join(CACHE, `fresh-node-${major}.tar`);
  if (fs.existsSync(file)) return file;
  const folder = fs.mkdtempSync(path.join(CACHE, 'node-'));
  try {
    const unpack = (spec: string, to: string, ...parts: string[]) => {
      fs.mkdirSync(to, { recursive: true });
      const pack = ['pack', '--silent', '--pack-destination', folder, spec];
      const packed = execFileSync('npm', pack, { encoding: 'utf8' }).trim().split('\n').at(-1);
      const tar = ['-xzf', path.join(folder, packed!), '--strip-components=1', '-C', to, ...parts];
      execFileSync('tar', tar);
    };
    const arch = process.arch;
    unpack(`node-linux-${arch}@${major}`, `${folder}/it`, 'package/bin/node', 'package/include');
    unpack(`npm@${NPM[major]}`, `${folder}/it/lib/node_modules/npm`);
    for (const name of ['npm', 'npx']) {
      fs.symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, `${folder}/it/bin/${name}`);
    }
    execFileSync('tar', [
      '-cf',
      `${file}.new`,
      '--owner=0',
      '--group=0',
      '-C',
      `${folder}/it`,
      '.',
    ]);
    fs.renameSync(`${file}.new`, file);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
  return file;
}

/** What is run there: each Node in turn, in the same clone. */
function script(
  nodes: readonly string[],
  user: string | undefined,
  parts: readonly string[],
): string {
  const quoted = parts.map((part) => ` '${part.replaceAll("'", '')}'`).join('');
  const tests = `npm test${quoted === '' ? '' : ` --${quoted}`}`;
  const lines = [
    'failed=0; mkdir -p /home/weft && tar -xf /tmp/weft.tar -C /home/weft && cd /home/weft',
  ];
  let as = '';
  if (user !== undefined) {
    lines.push('useradd -m newcomer && chown -R newcomer: /home/weft');
    if (user === 'tun') lines.push('chmod 666 /dev/net/tun');
    as =
      'setpriv --reuid=newcomer --regid=newcomer --init-groups --inh-caps=-all --bounding-set=-all env HOME=/home/newcomer ';
  }
  for (const [turn, node] of nodes.entries()) {
    lines.push(
      `echo "=== $(. /etc/os-release; echo $PRETTY_NAME), Node ${node}, ${user === undefined ? 'root' : `a user (tun: ${user})`}"`,
      `tar -xf /tmp/fresh-node-${node}.tar -C /usr/local`,
      // As the README says of these.
      ...(Number(node) < 26 ? [] : ['apt-get -q update && apt-get install -q -y libatomic1']),
      'node --version && npm --version',
    );
    if (as !== '' && turn === 0) {
      // The administrator runs the line that the user was given, as it stands.
      lines.push(
        `${as}npm run --silent setup -- test </dev/null >/tmp/said 2>&1; cat /tmp/said`,
        "line=$(sed -n 's/.*as root: //p' /tmp/said | head -1)",
        'echo "=== the administrator runs: $line"; apt-get -q update && sh -c "$line -y" >/tmp/apt || { tail -20 /tmp/apt; exit 1; }',
      );
    }
    lines.push(
      `${as}${tests} && echo "=== Node ${node}: passed" || { failed=1; echo "=== Node ${node}: FAILED"; }`,
    );
  }
  lines.push('df -m / | tail -1; exit $failed');
  return lines.join('\n');
}

const USAGE =
  'test-fresh -- [--debian=12|13] [--node=20|22|24|26[,…]] [--user=NAME] [part of a test file …]';
const { values, positionals } = orUsage(USAGE, () =>
  parseArgs({
    allowPositionals: true,
    options: {
      debian: { type: 'string', default: '12' },
      node: { type: 'string', default: '22' },
      user: { type: 'string' },
    },
  }),
);
const release = RELEASES[values.debian];
const nodes = values.node.split(',');
const odd = nodes.find((node) => NPM[node] === undefined);
const wrong =
  (release === undefined ? `--debian=${values.debian}: 12 or 13` : undefined) ??
  (odd === undefined ? undefined : `--node=${odd}: 20, 22, 24 or 26`);
if (release === undefined || wrong !== undefined) {
  console.error(`test-fresh: ${wrong}`);
  process.exit(2);
}
const lacks = rootLacks();
if (lacks !== undefined) skipAll('test-fresh', lacks);
fs.mkdirSync(CACHE, { recursive: true });
const source = path.join(CACHE, 'weft.tar');
execFileSync('git', ['archive', '-o', source, 'HEAD']);
const root = makeRoot(release, []);
const files = [source, ...nodes.map(nodeArchive)];
const name = `fresh-${release}-node${nodes.join('-')}-${values.user ?? 'root'}`;
const log = path.join(CACHE, `${name}.log`);
const [program, ...argv] = freshCommand(root, script(nodes, values.user, positionals), files);
const child = spawn(program!, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
const file = fs.createWriteStream(log);
child.stdout.pipe(file);
child.stdout.pipe(process.stdout);
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => child.kill('SIGTERM'));
child.once('close', (code) => {
  // What a look at the end wants: which failed, what was skipped, the counts.
  console.log(`\n${name}: ${code === 0 ? 'passed' : 'FAILED'}; all of it is in ${log}`);
  process.exitCode = code ?? 1;
});
