/** What the packages bring, compared with what the source has, so that nothing that is new is left out. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { COMMANDS } from '../../src/cli/manual/commands.js';

/** All files below a folder, by their path in it. */
function filesIn(folder: string): string[] {
  return fs
    .readdirSync(folder, { recursive: true })
    .map(String)
    .filter((name) => !fs.lstatSync(path.join(folder, name)).isDirectory())
    .sort();
}

const commands = COMMANDS.flat().map(({ name }) => name);

/** `deb` and `tarball` are files. */
export function theirContents(deb: () => string, tarball?: () => string): void {
  test('the Debian package brings the command, its page, completions, unit, examples and documents', (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-contents-'));
    t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
    execFileSync('dpkg-deb', ['-x', deb(), folder]);
    const read = (name: string) => fs.readFileSync(path.join(folder, name), 'utf8');
    const unzip = (name: string) => gunzipSync(fs.readFileSync(path.join(folder, name))).toString();

    // What packaging/debian has is laid out by dpkg, and the unit in systemd's own folder.
    const examples = filesIn('packaging').filter((name) => !/^(debian|weft\.service)/.test(name));
    assert.ok(examples.includes('monitoring/weft.rules.yml'), examples.join());
    const documents = fs.readdirSync('docs').filter((name) => /\.md$/.test(name));
    const outside = [
      ...['etc/default/weft', 'usr/bin/weft', 'usr/lib/systemd/system/weft.service'],
      ...['README.md', 'changelog.gz', 'copyright'].map((name) => `usr/share/doc/weft/${name}`),
      ...documents
        .filter((name) => name !== 'status.md')
        .map((name) => `usr/share/doc/weft/docs/${name}`),
      ...examples.map((name) => `usr/share/weft/${name}`),
      'usr/share/man/man8/weft.8.gz',
      'usr/share/bash-completion/completions/weft',
      'usr/share/zsh/vendor-completions/_weft',
      'usr/share/fish/vendor_completions.d/weft.fish',
    ];
    const brought = filesIn(folder).filter((name) => !name.startsWith('usr/lib/weft/'));
    assert.deepEqual(brought, outside.sort());
    for (const name of examples) {
      const source = fs.readFileSync(path.join('packaging', name), 'utf8');
      assert.equal(read(`usr/share/weft/${name}`), source, name);
    }
    const page = unzip('usr/share/man/man8/weft.8.gz');
    const scripts = outside.filter((name) => /completion/.test(name)).map(read);
    for (const command of commands) {
      assert.ok(page.includes(`\n.SS weft ${command.replaceAll('-', '\\-')}\n`), command);
      for (const script of scripts) assert.match(script, new RegExp(`\\b${command}\\b`));
    }
    assert.match(unzip('usr/share/doc/weft/changelog.gz'), /^# Changelog/);
    const unit = read('usr/lib/systemd/system/weft.service');
    assert.match(unit, /^ExecStart=\/usr\/bin\/weft up /m);
    assert.doesNotMatch(unit, /usr\/local/);
    const programs = filesIn(path.join(folder, 'usr/lib/weft'));
    for (const name of ['node', 'native/build/weft.node', 'dist/build.json']) {
      assert.ok(programs.includes(name), name);
    }
    const compiled = filesIn('dist/src').filter((name) => name.endsWith('.js'));
    for (const name of compiled) assert.ok(programs.includes(`dist/src/${name}`), name);
  });

  if (tarball === undefined) return;
  test('the npm package brings all that is compiled, both addons and their source', () => {
    const list = execFileSync('tar', ['-tzf', tarball()], { encoding: 'utf8' });
    const brought = list.split('\n').filter((name) => name !== '' && !name.endsWith('/'));
    const wanted = [
      ...filesIn('dist/src')
        .filter((name) => name.endsWith('.js'))
        .map((name) => `dist/src/${name}`),
      ...fs
        .readdirSync('native')
        .filter((name) => /\.[ch]$/.test(name))
        .map((name) => `native/${name}`),
      ...['native/prebuilt/linux-x64.node', 'native/prebuilt/linux-arm64.node'],
      ...['scripts/addon.mjs', 'scripts/install.mjs', 'dist/build.json'],
      ...['package.json', 'npm-shrinkwrap.json', 'README.md', 'CHANGELOG.md', 'LICENSE'],
    ];
    assert.deepEqual(brought.sort(), wanted.map((name) => `package/${name}`).sort());
  });
}
