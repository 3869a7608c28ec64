/** The flags that weft.service has: what `weft doctor` goes by where it is given none. */
import fs from 'node:fs';

/** Of the unit's `EnvironmentFile=`. */
export const UNIT_FILE = '/etc/default/weft';

export interface UnitFlags {
  /** The words of WEFT_OPTIONS. */
  readonly args: readonly string[];
  /** All that the file sets. */
  readonly variables: Readonly<Record<string, string>>;
}

/**
 * As systemd reads the file and splits the variable: systemd.exec(5), EnvironmentFile=;
 * systemd.service(5), "Command lines". Undefined where there is no file, or no flags in it. Throws what
 * Node throws for a file that is there and cannot be read.
 */
export function readUnitFlags(file = UNIT_FILE): UnitFlags | undefined {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return undefined;
    throw error;
  }
  const variables: Record<string, string> = {};
  for (const line of text.replaceAll(/\\\r?\n/g, '').split(/[\r\n]/)) {
    const [, name, value] = /^\s*([A-Za-z_]\w*)=(.*)$/.exec(line) ?? [];
    if (name !== undefined) variables[name] = value!.trim().replace(/^(["'])(.*)\1$/, '$2');
  }
  const words = variables.WEFT_OPTIONS?.match(/(?:"[^"]*"|'[^']*'|\S)+/g);
  if (words == null) return undefined;
  return { args: words.map((word) => word.replaceAll(/"([^"]*)"|'([^']*)'/g, '$1$2')), variables };
}
