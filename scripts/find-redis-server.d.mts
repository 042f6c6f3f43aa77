/** The path of a redis-server: `REDIS_SERVER`, else the one on PATH, else a newly installed one; throws one line that says how to install it. */
export declare function findRedisServer(): string
