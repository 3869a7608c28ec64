/** What can be done about our key: one call of the store, or to give it up. */
export type Action =
  | {
      readonly do: 'create';
      readonly value: string;
      /** That of the value. */
      readonly publicIp: number;
      /** Seconds; undefined: without an etcd lease. */
      readonly ttl: number | undefined;
    }
  | {
      readonly do: 'update';
      readonly value: string;
      readonly publicIp: number;
      readonly ttl: number | undefined;
      /** Of the key that is written over. */
      readonly revision: bigint;
      /** The etcd lease that the key is taken off. */
      readonly lease: bigint | undefined;
    }
  | { readonly do: 'keep alive'; readonly lease: bigint }
  | { readonly do: 'look' }
  | { readonly do: 'discard'; readonly lease: bigint }
  | { readonly do: 'give up'; readonly reason: string };
