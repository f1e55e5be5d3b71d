import {
  ClusterAdapter,
  type ClusterAdapterOptions,
  type ClusterMessage,
  type ClusterResponse,
  type PrivateSessionId,
  type Room,
  type ServerId,
  type Session,
  type SocketId,
} from "socket.io-adapter";
import type {
  FactoryEvents,
  LinkOptions,
  AdapterStats,
  FanOutStats,
  LinkStats,
  TransportInfo,
} from "./index.js";

export type { LinkOptions, AdapterStats, FanOutStats, LinkStats, TransportInfo };

export interface RedisStreamsAdapterOptions extends LinkOptions {
  /**
   * The name of the Redis stream; if there are several, what their names begin with.
   *
   * @default "socket.io"
   */
  streamName?: string;

  /**
   * The number of streams. Each namespace has one of them, and each is read by a connection of its own. The same on all
   * servers.
   *
   * @default 1
   */
  streamCount?: number;

  /**
   * The prefix of the pub/sub channels, by which servers ask and answer each other.
   *
   * @default "socket.io"
   */
  channelPrefix?: string;

  /**
   * Whether these are channels of shards, which needs Redis 7. The same on all servers.
   *
   * @default false
   */
  useShardedPubSub?: boolean;

  /**
   * How many entries a stream has at most, roughly: what is older is trimmed. A server that is away for longer than it
   * takes to add so many has lost what is between, and clients that were can not recover their connections.
   *
   * @default 10000
   */
  maxLen?: number;

  /**
   * How many entries are read at a time.
   *
   * @default 100
   */
  readCount?: number;

  /**
   * How long Redis lets a read wait for new entries, in milliseconds; 0 is for ever.
   *
   * @default 5000
   */
  blockTimeInMs?: number;

  /**
   * The prefix of the keys of sessions.
   *
   * @default "sio:session:"
   */
  sessionKeyPrefix?: string;

  /**
   * Whether nothing that is emitted is binary. If something is nevertheless, it arrives as JSON has it.
   *
   * @default false
   */
  onlyPlaintext?: boolean;
}

/**
 * How long this server did not hear the others, and why: what the event `gap` comes with. The last three if entries of
 * a stream were trimmed before they were read: those between the ids `after` and `before`.
 */
export interface Gap {
  milliseconds: number;
  reason: string;
  stream?: string;
  after?: string;
  before?: string;
}

/** The adapter of streams of one namespace. */
declare class RedisStreamsAdapter extends ClusterAdapter {
  readonly uid: ServerId;
  requestsTimeout: number;

  /** Resolves when this server hears the others, for the first time. */
  readonly ready: Promise<void>;

  private constructor();

  /** This server hears the others. */
  on(event: "ready" | "connect", listener: () => void): this;
  /** It does not, or no longer; or something has failed. */
  on(event: "degraded" | "disconnect" | "error", listener: (error: Error) => void): this;
  /** It did not for a while. */
  on(event: "gap", listener: (gap: Gap) => void): this;
  on(event: string | symbol, listener: (...args: any[]) => void): this;
  once(event: "ready" | "connect", listener: () => void): this;
  once(event: "degraded" | "disconnect" | "error", listener: (error: Error) => void): this;
  once(event: "gap", listener: (gap: Gap) => void): this;
  once(event: string | symbol, listener: (...args: any[]) => void): this;

  /** Who carries the bytes, and why. */
  get transport(): TransportInfo;

  /** The counters; null once the adapter is closed. */
  stats(): AdapterStats | null;

  /** The names of all rooms of the cluster. */
  allRooms(): Promise<Set<Room>>;

  /**
   * The ids of the sockets of the cluster that are in one of the rooms, or of all.
   *
   * @deprecated use `io.in(rooms).fetchSockets()`
   */
  sockets(rooms?: Set<Room>): Promise<Set<SocketId>>;

  doPublish(message: ClusterMessage): any;
  protected doPublishResponse(requesterUid: ServerId, response: ClusterResponse): Promise<void>;
  serverCount(): Promise<number>;
  persistSession(session: any): void;
  restoreSession(pid: PrivateSessionId, offset: string): Promise<Session>;
  close(): Promise<void> | void;
}

export type { RedisStreamsAdapter };

/**
 * Returns what `new Server({ adapter })` and `io.adapter()` take: the adapter of streams, whose clients can recover their
 * connections (`connectionStateRecovery`).
 *
 * @param redisClient - a client of `redis` or `ioredis`, or where a Redis is, as for the classic adapter
 * @param opts - options; `heartbeatInterval` and `heartbeatTimeout` have no effect: servers are counted, rather than
 *   waited for to say that they are there
 * @throws TypeError if an argument cannot be meant
 */
export declare function createAdapter(
  redisClient: any,
  opts?: RedisStreamsAdapterOptions & ClusterAdapterOptions,
): ((nsp: any) => RedisStreamsAdapter) & FactoryEvents;

// For `Parameters` and `ReturnType`: the signature of the reference.
export declare function createAdapter(
  redisClient: any,
  opts?: RedisStreamsAdapterOptions & ClusterAdapterOptions,
): (nsp: any) => RedisStreamsAdapter;
