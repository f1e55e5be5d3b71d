import type { Adapter, Room } from "socket.io-adapter";

/** Encodes and decodes what goes over Redis, instead of msgpack. */
export interface Parser {
  decode: (msg: any) => any;
  encode: (msg: any) => any;
}

export interface RedisAdapterOptions {
  /**
   * The prefix of the channels.
   *
   * @default "socket.io"
   */
  key: string;

  /**
   * How long a request waits for the answers of the other servers, in milliseconds.
   *
   * @default 5000
   */
  requestsTimeout: number;

  /**
   * Whether responses go to the requesting server alone, rather than to all.
   *
   * @default false
   */
  publishOnSpecificResponseChannel: boolean;

  /**
   * The parser for messages sent to Redis. With one of your own the work is done in JS, by it.
   *
   * @default msgpack, as `notepack.io` writes it
   */
  parser: Parser;

  /**
   * Who carries the bytes: connections of the adapter's own (`"native"`), made with the settings of your clients, or
   * your clients themselves (`"client"`). `"auto"` takes its own connections as soon as it is proven that they reach
   * the same Redis, and your clients if that cannot be.
   *
   * @default "auto"
   */
  transport: "auto" | "native" | "client";

  /**
   * How many bytes of messages wait for Redis while it is away. When there are more, the oldest are dropped, and
   * counted in `stats().dropped`.
   *
   * @default 33554432
   */
  maxBacklogBytes: number;

  /**
   * How many bytes of received messages wait for a busy event loop. When there are more, the adapter stops reading.
   *
   * @default 33554432
   */
  maxInboxBytes: number;
}

/** Who carries the bytes between this server and Redis. */
export interface TransportInfo {
  carrier: "native" | "client";
  /** Whether it is certain that the carrier reaches the same Redis as your clients. */
  proven: boolean;
  /** Why it is this carrier. */
  reason: string;
}

/** Counters since the adapter was made, shared by all namespaces of a pair of clients. In messages, unless named otherwise. */
export interface LinkStats {
  /** Handed to the connection to Redis. */
  published: number;
  /** That Redis has answered for. */
  acknowledged: number;
  /** That Redis has refused. */
  refused: number;
  /** In flight when the connection was lost: Redis may or may not have had them. */
  lostInFlight: number;
  /** Given up since the backlog was full, or the clients had ended. */
  dropped: number;
  /** Waiting for Redis now. */
  backlog: number;
  /** Not published since they are nested too deep (1024 levels). */
  unencodable: number;
  /** Received, of all kinds. */
  received: number;
  /** Received, and handed to JavaScript. */
  delivered: number;
  /** Received, and dropped since no socket of this server is concerned. */
  ignored: number;
  /** Received, and dropped since this server had sent them. */
  own: number;
  /** Received, and dropped since they make no sense. */
  malformed: number;
  /** How often the connection was lost. */
  outages: number;
  /** Requests that wait for answers now. */
  pendingRequests: number;
  /** Bytes that wait for the event loop now. */
  inboxBytes: number;
}

/** The adapter of one namespace. */
export declare class RedisAdapter extends Adapter {
  readonly uid: string;
  readonly pubClient: any;
  readonly subClient: any;
  requestsTimeout: number;
  readonly publishOnSpecificResponseChannel: boolean;
  readonly parser: Parser;

  /** Resolves when this server hears the others, for the first time. */
  readonly ready: Promise<void>;

  constructor(nsp: any, pubClient: any, subClient: any, opts?: Partial<RedisAdapterOptions>);

  /** Who carries the bytes, and why. */
  get transport(): TransportInfo;

  /** The counters; null once the adapter is closed. */
  stats(): LinkStats | null;

  /**
   * The names of all rooms of the cluster.
   *
   * Rejects with "timeout reached while waiting for allRooms response" after `requestsTimeout`; the error has what
   * came in `responses`, and `expected`.
   */
  allRooms(): Promise<Set<Room>>;
}

/**
 * Returns what `new Server({ adapter })` and `io.adapter()` take.
 *
 * @param pubClient - a client of `redis` or `ioredis` that publishes
 * @param subClient - a client that receives; it is put in subscribed state only if it has to carry the bytes
 * @param opts - options
 * @throws TypeError if an argument cannot be meant
 */
declare function createAdapter(
  pubClient: any,
  subClient: any,
  opts?: Partial<RedisAdapterOptions>,
): (nsp: any) => RedisAdapter;

/**
 * Returns the same without clients: the adapter has connections of its own.
 *
 * @param url - `redis://user:password@host:port/database` or `redis+unix:///path`
 * @param opts - options
 */
declare function createAdapter(url: string, opts?: Partial<RedisAdapterOptions>): (nsp: any) => RedisAdapter;

export { createAdapter };
export default createAdapter;
