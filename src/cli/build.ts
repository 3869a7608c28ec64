/** Which weft this is: the version, from package.json alone, and the commit that it was built of. */
import fs from 'node:fs';
import type { Build } from '../operate/status/status.js';

const manifest = new URL('../../../package.json', import.meta.url);
export const version = (JSON.parse(fs.readFileSync(manifest, 'utf8')) as { version: string })
  .version;

/** Null where it is not known: built outside of git, or the file is not there. */
export const build = readBuild(new URL('../../build.json', import.meta.url));

/** `0.1.0 (commit e096475 of 2026-11-28)`. */
export const versionAndBuild = build === null ? version : `${version} (${describeBuild(build)})`;

function readBuild(file: URL): Build | null {
  try {
    const { commit, date, changed } = JSON.parse(fs.readFileSync(file, 'utf8')) as Partial<Build>;
    if (typeof commit !== 'string' || commit === '') return null;
    return { commit, date: typeof date === 'string' ? date : '', changed: changed === true };
  } catch {
    return null;
  }
}

/** `commit e096475 of 2026-11-28, changed since`. */
export function describeBuild({ commit, date, changed }: Build): string {
  const day = date === '' ? '' : ` of ${date.slice(0, 10)}`;
  return `commit ${commit}${day}${changed ? ', changed since' : ''}`;
}
