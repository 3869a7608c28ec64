/**
 * Everything below a prefix in etcd, in pages, all of one revision: the first page says which,
 * the others are asked for at it. Writes between two pages are not in the listing; the watch that
 * begins behind its revision tells of them.
 */
import type { IKeyValue, IRangeRequest, IRangeResponse, IResponseHeader } from 'etcd3/lib/rpc.js';
import { LARGEST_MESSAGE } from './grpc-call.js';
import { messageOf, StoreError } from './store.js';

/** Makes one linearizable range call; rejects with StoreError for what etcd refuses. */
export type ReadRange = (request: IRangeRequest) => Promise<IRangeResponse>;

export interface Pages {
  readonly kvs: readonly IKeyValue[];
  readonly revision: bigint;
  /** In hex, as etcdctl prints it. */
  readonly cluster: string;
}

/** Keys of a page; a lease has some 200 bytes. */
const PAGE_KEYS = 1_000;
/** How often the listing begins anew, when what it was of is gone before its last page. */
const MOST_BEGINS = 5;

/**
 * Lists a range of keys. Rejects with StoreError when one value alone is too large, and when the
 * store is compacted faster than it can be listed.
 */
export async function listPages(
  read: ReadRange,
  range: { readonly key: Buffer; readonly range_end: Buffer },
  pageKeys = PAGE_KEYS,
): Promise<Pages> {
  for (let begins = 1; ; begins++) {
    const pages = await listOnce(read, range, pageKeys);
    if (pages !== undefined) return pages;
    if (begins === MOST_BEGINS) {
      throw new StoreError(
        `etcd is compacted faster than it can be listed: ${begins} times its revision was gone ` +
          'before the last page',
      );
    }
  }
}

/** Undefined when the revision is gone before the last page, or another store answers for it. */
async function listOnce(
  read: ReadRange,
  range: { readonly key: Buffer; readonly range_end: Buffer },
  pageKeys: number,
): Promise<Pages | undefined> {
  const kvs: IKeyValue[] = [];
  let limit = pageKeys;
  let first: IResponseHeader | undefined;
  for (;;) {
    const last = kvs.at(-1);
    const key = last === undefined ? range.key : keyAfter(last.key);
    let page: IRangeResponse;
    try {
      page = await read({ ...range, key, limit, ...(first && { revision: first.revision }) });
    } catch (error) {
      const reason = messageOf(error);
      if (first !== undefined && REVISION_GONE.test(reason)) return undefined;
      if (!TOO_LARGE.test(reason)) throw error;
      if (limit === 1) throw new StoreError(tooLarge(last, reason));
      limit = Math.ceil(limit / 4);
      continue;
    }
    first ??= page.header;
    if (page.header.cluster_id !== first.cluster_id) return undefined;
    for (const kv of page.kvs) kvs.push(kv);
    if (!page.more || page.kvs.length === 0) {
      return { kvs, revision: BigInt(first.revision), cluster: clusterOf(first) };
    }
  }
}

/** The id of the cluster that an answer is of, in hex as etcdctl prints it. */
export function clusterOf({ cluster_id }: IResponseHeader): string {
  return BigInt(cluster_id).toString(16);
}

/** gRPC's words, of either end. */
const TOO_LARGE = /larger than max/;
/** etcd's words; "future" is what a store says that was restored between two pages. */
export const REVISION_GONE = /required revision (?:has been compacted|is a future revision)/;

/** The least key that is greater. */
function keyAfter(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.of(0)]);
}

function tooLarge(last: IKeyValue | undefined, reason: string): string {
  const where = last === undefined ? 'the first key' : `the key after ${last.key}`;
  const most = `${LARGEST_MESSAGE / 2 ** 20} MiB`;
  return `the value of ${where} is larger than ${most}, and no lease is; remove it (${reason})`;
}

/** All keys that begin with `prefix`: up to the prefix with its last byte one higher. */
export function range(prefix: string): { key: Buffer; range_end: Buffer } {
  const key = Buffer.from(prefix);
  const end = Buffer.from(key);
  end[end.length - 1] = (end[end.length - 1] as number) + 1;
  return { key, range_end: end };
}
