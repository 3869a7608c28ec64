/**
 * The little of playwright that the page's test takes. Its own types are those of a browser, which
 * nothing else here has.
 */
export interface Page {
  on(event: 'request', hear: (request: { url(): string }) => void): void;
  on(event: 'console', hear: (message: { type(): string; text(): string }) => void): void;
  on(event: 'pageerror', hear: (error: Error) => void): void;
  goto(url: string): Promise<unknown>;
  waitForSelector(selector: string): Promise<unknown>;
  screenshot(options: { path: string; fullPage: boolean }): Promise<unknown>;
  evaluate(script: string): Promise<unknown>;
  isVisible(selector: string): Promise<boolean>;
  locator(selector: string): { count(): Promise<number>; innerText(): Promise<string> };
  title(): Promise<string>;
  url(): string;
}

export interface PageOptions {
  readonly viewport?: { width: number; height: number };
  readonly colorScheme?: 'light' | 'dark';
  readonly hasTouch?: boolean;
}

export interface Browser {
  newPage(options: PageOptions): Promise<Page>;
  close(): Promise<void>;
}

/** Debian's, or what CHROMIUM names. */
export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

export async function launch(): Promise<Browser> {
  const name: string = 'playwright-core';
  const { chromium } = (await import(name)) as {
    chromium: { launch(options: object): Promise<Browser> };
  };
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
    ],
  });
}
