/** The version, from package.json: the one place where it stands. */
import fs from 'node:fs';

const manifest = new URL('../../../package.json', import.meta.url);
export const version = (JSON.parse(fs.readFileSync(manifest, 'utf8')) as { version: string })
  .version;
