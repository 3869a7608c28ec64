/**
 * Whether the network config in the store is still the one that this host runs with. Nobody takes
 * another one while it runs, flanneld as little as weft: it counts from the next start on. Until
 * then hosts that started before and after the change may not reach each other, and a config that
 * is of no use shows at the next boot. So it is read again now and then, and only told of.
 */
import type { Clock, Log, Random } from '../runtime.js';
import { messageOf, type Store, StoreError } from '../store/store.js';
import { type Config, ConfigError, parseConfig } from './config.js';
import { type Difference, differences } from './config-differences.js';
import { type ConfigProblem, configProblem } from './flanneld.js';

/** Every host reads it, so seldom; up to a fifth later, so that they do not all at once. */
const EVERY_MS = 60_000;

export interface ConfigChange {
  /** Whether a start takes what is there, refuses it, or finds nothing. */
  readonly is: 'another' | 'unusable' | 'gone';
  /** What differs, `Backend.VNI is 2, here 1`; or why it is unusable; empty where it is gone. */
  readonly what: readonly string[];
  /** Whether hosts with the one and hosts with the other may not reach each other. */
  readonly parts: boolean;
  /** The text that this host runs with, in one line. */
  readonly inForce: string;
}

export interface ConfigWatchOptions {
  readonly store: Pick<Store, 'readConfig' | 'configName'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** In force, and its text. */
  readonly config: Config;
  readonly text: string;
  /** Whether flannelds read the same. */
  readonly besideFlanneld: boolean;
}

export class ConfigWatch {
  readonly #options: ConfigWatchOptions;
  #change: ConfigChange | undefined;
  #problem: ConfigProblem | undefined;
  #cancel = () => {};
  #stopped = false;

  constructor(options: ConfigWatchOptions) {
    this.#options = options;
    this.#problem = this.#problemOf(options.text);
  }

  /** Undefined while it is the same, as far as is known. */
  get change(): ConfigChange | undefined {
    return this.#change;
  }

  /** Why a flanneld would refuse what is there though weft does not; undefined where none reads it. */
  get problem(): ConfigProblem | undefined {
    return this.#problem;
  }

  /** Reads it from now on. */
  start(): void {
    const { clock, random } = this.#options;
    if (this.#stopped) return;
    this.#cancel();
    this.#cancel = clock.after(EVERY_MS * (1 + random() / 5), () => void this.look());
  }

  /** Reads it now. */
  async look(): Promise<void> {
    const { store, log } = this.#options;
    this.#cancel();
    try {
      this.#judge(await store.readConfig());
    } catch (error) {
      // A store that is away is told of elsewhere, and nothing is known.
      if (error instanceof StoreError) this.#refused(error.message);
      else log.debug(messageOf(error));
    }
    this.start();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  #judge(text: string | undefined): void {
    this.#change = this.#changeTo(text);
    const isRead = text !== undefined && this.#change?.is !== 'unusable';
    this.#problem = isRead ? this.#problemOf(text) : undefined;
  }

  #changeTo(text: string | undefined): ConfigChange | undefined {
    const { config, store } = this.#options;
    if (text === undefined) return this.#told('gone', []);
    let now: Config;
    try {
      now = parseConfig(text, store.configName);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return this.#unusable(error.message);
    }
    const all = differences(config, now);
    return all.length === 0 ? undefined : this.#told('another', all);
  }

  /** It may not be read: a start would wait for that. */
  #refused(why: string): void {
    this.#change = this.#unusable(why);
    this.#problem = undefined;
  }

  #unusable(why: string): ConfigChange {
    // The finding names it itself.
    const begin = `network config ${this.#options.store.configName}: `;
    const text = why.startsWith(begin) ? why.slice(begin.length) : why;
    return this.#told('unusable', [{ text, parts: false }]);
  }

  #told(is: ConfigChange['is'], all: readonly Difference[]): ConfigChange {
    return {
      is,
      what: all.map(({ text }) => text),
      parts: all.some(({ parts }) => parts),
      // No string in JSON has a line break in it.
      inForce: this.#options.text.trim().replaceAll(/\s*\n\s*/g, ' '),
    };
  }

  #problemOf(text: string): ConfigProblem | undefined {
    return this.#options.besideFlanneld ? configProblem(text) : undefined;
  }
}
