// What the modules of this page share. Nothing in a message is trusted: each value is checked by `values.js`.

/** An object of which nothing is known yet. */
export type Data = Record<string, unknown>;

/** Something to show; what is empty is left out. */
export type Part = Node | string | null | undefined;

/** A job of the server, with its small picture if the result has one. */
export interface JobAnswer {
  job: Data;
  poster: string | null;
}

/** Handles a notification of the host. */
export type Told = (params: Data) => void;
