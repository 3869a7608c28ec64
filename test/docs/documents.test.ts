/** What the documents name is there: commands, flags, links, files, drop reasons. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DROP_NAMES } from '../../src/dataplane/forward/drops.js';
import { TIER_NAMES } from '../../src/dataplane/io/tiers.js';
import { WEFT } from '../../src/lab/host.js';
import { blocksOf, missing, typedOf } from './blocks.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const read = (name: string) => fs.readFileSync(path.join(ROOT, name), 'utf8');
const here = (name: string) => path.join(ROOT, name);

const inDocs = fs.readdirSync(here('docs')).filter((name) => name.endsWith('.md'));
const DOCUMENTS = [
  ...['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'bench/README.md'],
  ...inDocs.map((name) => `docs/${name}`),
].filter((name) => fs.existsSync(here(name)));

/** Documents whose commands `npm run test-packages` types as they stand, and on what. */
const TYPED = [
  ...['first-network', 'docker', 'cni', 'container', 'migration', 'upgrade', 'remove', 'firewall'],
  'install',
].map((name) => `docs/${name}.md`);
const MACHINES = ['etcd', 'a', 'b', 'c', 'root', 'npm', 'source'];

/** The text without blocks, and what stands between single backticks in it. */
const prose = (text: string) => text.replace(/^```[\s\S]*?^```$/gm, '');
const spans = (text: string) => [...prose(text).matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!);

/** A heading's address, as GitHub makes it. */
const anchor = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
const anchors = (text: string) =>
  [...prose(text).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchor(heading!));

const flagsOf = new Map<string, Set<string> | undefined>();
/** The flags of a command as its own help has them; undefined for a command that there is not. */
function flags(command: string): Set<string> | undefined {
  if (!flagsOf.has(command)) {
    const { status, stdout } = spawnSync(process.execPath, [WEFT, 'help', command], {
      encoding: 'utf8',
    });
    const found = [...stdout.matchAll(/^ {2}(-[\w-]+)/gm)].map(([, flag]) => flag!);
    flagsOf.set(command, status === 0 ? new Set([...found, '-help']) : undefined);
  }
  return flagsOf.get(command);
}

/** What is wrong with the `weft …` commands of some lines. */
function wrongCommands(text: string): string[] {
  const lines = text.replaceAll(/\\\n\s*/g, ' ').split(/\n|&&|[|;<>]|\$\(/);
  return lines.flatMap((line) => {
    const words = line.trim().split(/\s+/);
    const at = words.findIndex((word) => /^(?:\S*\/)?weft$/.test(word) && !word.startsWith('-'));
    // `-t weft`, `--name weft`, `systemctl … weft`: a name.
    if (at === -1 || /^(?:-\S*|systemctl|enable|stop|purge)$/.test(words[at - 1] ?? '')) return [];
    if (/^(?:systemctl|apt-get|journalctl|npm)$/.test(words[0]!)) return [];
    const [command = '', ...rest] = words.slice(at + 1);
    // `weft guard` is the comment of a rule.
    if (!/^[a-z][a-z-]*$/.test(command) || ['weft', 'guard'].includes(command)) return [];
    const known = flags(command);
    if (known === undefined) return [`there is no command: ${line.trim()}`];
    return rest
      .filter((word) => /^--?[a-z]/.test(word))
      .map((word) => word.replace(/^--/, '-').replace(/[=…].*/, ''))
      .filter((flag) => !known.has(flag))
      .map((flag) => `${flag} is no flag: ${line.trim()}`);
  });
}

describe('the documents', () => {
  for (const name of DOCUMENTS) {
    test(`${name}: every weft command and flag exists`, () => {
      const text = read(name);
      const typed = blocksOf(here(name)).filter(({ language }) => language === 'sh');
      const quoted = spans(text).filter((code) => code.startsWith('weft '));
      const wrong = [...typed.map((block) => block.text), ...quoted].flatMap(wrongCommands);
      assert.deepEqual(wrong, []);
    });

    test(`${name}: every link leads somewhere`, () => {
      const wrong: string[] = [];
      for (const [, target] of prose(read(name)).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target!)) continue;
        const [file = '', part] = target!.split('#');
        const to = file === '' ? name : path.join(path.dirname(name), file);
        if (!fs.existsSync(here(to))) wrong.push(target!);
        else if (part !== undefined && !anchors(read(to)).includes(part)) wrong.push(target!);
      }
      assert.deepEqual(wrong, []);
    });

    test(`${name}: every file of the source that it names exists`, () => {
      const wrong = spans(read(name)).filter(
        (code) =>
          /^[\w.-]+(?:\/[\w.-]+)+\.(?:ts|mjs|c|h|service|conf)$/.test(code) && !isFile(code),
      );
      assert.deepEqual(wrong, []);
    });

    test(`${name}: every test that it names with its title exists`, () => {
      const named = prose(read(name)).matchAll(/`((?:[a-z]+\/)+[\w-]+)`:? "([^"]+)"/g);
      const wrong = [...named]
        .filter(([, file, title]) => !isTest(file!, title!))
        .map(([, file, title]) => `${file} "${title}"`);
      assert.deepEqual(wrong, []);
    });

    test(`${name}: a drop reason that it names is one`, () => {
      const wrong = spans(read(name)).filter(
        (code) =>
          /^(?:outbound|send|inner|foreign|unknown|spoofed|martian)_[a-z0-9_]+$/.test(code) &&
          !/^outbound_(?:in|out)_/.test(code) &&
          !DROP_NAMES.some((reason) => reason === code),
      );
      assert.deepEqual(wrong, []);
    });
  }

  test('a tier that a document names is one', () => {
    for (const name of DOCUMENTS) {
      const tiers = spans(read(name)).flatMap((code) => /^tier ([\w-]+)$/.exec(code)?.[1] ?? []);
      for (const tier of tiers)
        assert.ok((TIER_NAMES as readonly string[]).includes(tier), `${name}: ${tier}`);
    }
  });

  test('docs/drops.md explains every drop reason once, in the order of the list', () => {
    const rows = [
      ...read('docs/drops.md').matchAll(/^\| `(\w+)` \| [^|]+ \| [^|]+ \| [^|]+ \|$/gm),
    ];
    assert.deepEqual(
      rows.map(([, reason]) => reason),
      DROP_NAMES.filter((reason) => reason !== 'none'),
    );
  });

  test('a command says on which machine it is typed, where the test of the packages types it', () => {
    for (const name of DOCUMENTS) {
      for (const { block } of typedOf(here(name))) {
        const where = `${name}:${block.line}`;
        if (TYPED.includes(name)) assert.ok(block.words.length > 0, `${where} has no machine`);
        for (const word of block.words) assert.ok(MACHINES.includes(word), `${where}: ${word}`);
      }
      for (const { text } of blocksOf(here(name))) assert.doesNotMatch(text, /^@@$/m, name);
    }
  });

  test('README has every document in its index', () => {
    const named = [...read('README.md').matchAll(/\]\(docs\/([\w-]+\.md)\)/g)].map(
      ([, file]) => file,
    );
    const left = inDocs.filter((file) => !named.includes(file) && file !== 'status.md');
    assert.deepEqual(left, []);
  });
});

describe('what a document says is printed', () => {
  const output = 'eth0 up\nlease 10.5.76.0/24, MAC 16:e4:84:37:02:24\nsent 3  heard 3\n';
  test('numbers and addresses may differ, lines may be left out', () => {
    assert.equal(missing('lease 10.5.1.0/24, MAC 00:00:00:00:00:01\n', output), undefined);
    assert.equal(missing('eth0 …\n…\nsent 12 heard 0\n', output), undefined);
  });
  test('so it is of a weft with changes that are not committed', () => {
    const printed =
      'weft 0.1.0 (ad6efc4, changed), process 9\n  build commit ad6efc4, changed since\n';
    assert.equal(
      missing('weft 0.1.0 (3f2c1aa), process 1\nbuild commit 3f2c1aa\n', printed),
      undefined,
    );
    assert.notEqual(missing('eth0 up\n', 'eth0 up, changed since\n'), undefined);
  });
  test('another word, or another order, is missed', () => {
    assert.equal(missing('lease 10.5.1.0/24, gone\n', output), 'lease 0.0.0.0/0, gone');
    assert.equal(missing('sent 1 heard 1\neth0 up\n', output), 'eth0 up');
  });
});

let files: string[] | undefined;
function isFile(name: string): boolean {
  files ??= ['src', 'test', 'bench', 'native', 'packaging', 'scripts'].flatMap((folder) =>
    fs.readdirSync(here(folder), { recursive: true }).map((one) => `${folder}/${String(one)}`),
  );
  return fs.existsSync(here(name)) || files.some((file) => file.endsWith(`/${name}`));
}

/** Whether a file of tests has one with these words in its title; … stands for the rest of it. */
function isTest(file: string, words: string): boolean {
  const [begin = ''] = words.replaceAll(/\s+/g, ' ').split(' …');
  return fs
    .readdirSync(here('test'), { recursive: true })
    .map(String)
    .filter((one) => `/${one}`.includes(`/${file}.`))
    .some((one) => {
      const text = read(`test/${one}`);
      if (text.includes(begin)) return true;
      // What is computed in a title may be anything.
      const computed = [...text.matchAll(/\btest\(\s*`([^`]*\$\{[^`]*)`/g)].map(([, title]) =>
        title!.split(/\$\{[^}]*\}/).map((part) => part.replaceAll(/[.*+?^$()|[\]\\{}]/g, '\\$&')),
      );
      return computed.some((parts) => new RegExp(`^${parts.join('.+')}$`).test(begin));
    });
}
