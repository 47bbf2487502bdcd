// What the server tells the page. `seedance_mcp/app/web/gallery/data.py` builds it.

export interface Frame {
  name: "first" | "last";
  picture: string | null;
  url: string | null;
}

export interface Clip {
  job_id: string;
  status: "pending" | "loading" | "complete" | "failed";
  progress: number;
  prompt: string;
  model: string;
  size: string;
  /** Arguments that are not the prompt or a picture and differ from their defaults. */
  options: Record<string, string | number | boolean>;
  price_micro_usdc: number;
  created_at: number;
  error: string | null;
  claim: string | null;
  next_step: string | null;
  video_url: string | null;
  url_seen_at: number | null;
  video: string | null;
  poster: string | null;
  missing: boolean;
  /** Path on this machine; null in an exported gallery. */
  file: string | null;
  download: string;
  receipt: string | null;
  receipt_url: string | null;
  frames: Frame[];
  /** Of a film; a video has none. */
  shots?: Shot[];
  /** Id of the film that a video is a shot of. */
  film?: string;
}

export interface Shot {
  /** Null until its video is bought. */
  job_id: string | null;
  status: "waiting" | "pending" | "loading" | "complete" | "failed";
  prompt: string;
  poster: string | null;
}

export interface Spending {
  /** `2026-11-30` or `2026-11`. */
  name: string;
  micro_usdc: number;
  videos: number;
  /** Micro-USDC by model; uploads are under "". */
  models: Record<string, number>;
}

export interface OpenPayment {
  /** Null for the sum of a film. */
  payment_id: number | null;
  amount_micro_usdc: number;
  purpose: string;
  prompt: string;
  state: "reserved" | "signed" | "refused" | "settled" | "film";
  hold_until: number;
}

export interface Balance {
  name: string;
  micro_usdc: number | null;
}

export interface Show {
  profile: string;
  live: boolean;
  version: string;
  made_at: number;
  /** Command that makes a video with this profile's settings. */
  command: string;
  money: {
    spent_last_day_micro_usdc: number;
    spent_total_micro_usdc: number;
    max_per_day_micro_usdc: number;
    max_total_micro_usdc: number | null;
    max_price_per_video_micro_usdc: number;
    ask_above_micro_usdc: number | null;
    /** Spans of time that the owner limits in addition to the day. */
    windows: { name: string; spent_micro_usdc: number; max_micro_usdc: number }[];
    days: Spending[];
    months: Spending[];
  };
  open: OpenPayment[];
  clips: Clip[];
  /** True if the ledger has older videos than these. */
  has_older: boolean;
}

/** One message of the server: what changed. */
export interface Change {
  version: string;
  /** All but the videos, or null if only videos changed. */
  show: Omit<Show, "clips"> | null;
  clips: Clip[];
  gone: string[];
}
