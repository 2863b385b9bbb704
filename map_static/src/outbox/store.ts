/** What is kept on the phone until the server has it: reports with their photos, in IndexedDB; in memory where that fails. */

import { openDB, type DBSchema, type IDBPDatabase } from "idb";

/** Waiting to be sent; lacking something the person has to add; refused by the server; received. */
export type State = "waiting" | "incomplete" | "refused" | "sent";

/** What the file said of itself before it was made smaller: degrees WGS-84, the camera's own time. */
export interface Evidence {
  readonly lon: number | null;
  readonly lat: number | null;
  readonly takenAt: string | null;
}

export interface KeptPhoto {
  readonly blob: Blob;
  readonly name: string;
  readonly evidence: Evidence | null;
  /** Where its upload goes on; its last part names the photo once all has arrived. */
  uploadUrl: string | null;
  isUploaded: boolean;
}

/** A field of the report as the API takes it. */
export type Field = string | number | boolean;

export interface KeptReport {
  readonly key: string;
  readonly savedAt: number;
  state: State;
  fields: Record<string, Field>;
  photos: KeptPhoto[];
  /** Why the server refused it: codes by field, or one under "". */
  faults: Record<string, readonly string[]>;
  receipt: { readonly code: string; readonly followUrl: string } | null;
  /** Too many were sent from here: when to come again, in milliseconds since 1970. */
  notBefore?: number;
}

export interface Store {
  /** Whether what is put here outlives the page. */
  readonly isLasting: boolean;
  all(): Promise<KeptReport[]>;
  get(key: string): Promise<KeptReport | undefined>;
  /** Throws {@link StorageFull} when the phone has no room. */
  put(report: KeptReport): Promise<void>;
  /** Whether a report that is being sent still waits as it did: neither removed nor taken back into the form. */
  waits(report: KeptReport): Promise<boolean>;
  /** Put how far it came, if it does; whether it did. Throws {@link StorageFull}. */
  update(report: KeptReport): Promise<boolean>;
  remove(key: string): Promise<void>;
  clear(): Promise<void>;
}

export class StorageFull extends Error {}

export const DATABASE = "waterwatch";
const REPORTS = "reports";

interface Schema extends DBSchema {
  [REPORTS]: { key: string; value: KeptReport };
}

/** The phone's own store, or a page's memory where the browser keeps nothing (private windows, old web views). */
export async function openStore(): Promise<Store> {
  try {
    return new LastingStore(await openDB<Schema>(DATABASE, 1, { upgrade: (database) => void database.createObjectStore(REPORTS, { keyPath: "key" }) }));
  } catch {
    return new MemoryStore();
  }
}

class LastingStore implements Store {
  readonly isLasting = true;
  /** The person left by the quick exit: who was just sending finds nothing any more and writes nothing. */
  private isForgotten = false;

  constructor(private readonly database: IDBPDatabase<Schema>) {
    database.addEventListener("versionchange", () => {
      this.isForgotten = true;
      database.close();
    });
  }

  async all(): Promise<KeptReport[]> {
    if (this.isForgotten) return [];
    return (await this.database.getAll(REPORTS)).sort((one, other) => one.savedAt - other.savedAt);
  }

  async get(key: string): Promise<KeptReport | undefined> {
    return this.isForgotten ? undefined : this.database.get(REPORTS, key);
  }

  async put(report: KeptReport): Promise<void> {
    await this.write(report, () => true);
  }

  async waits(report: KeptReport): Promise<boolean> {
    return isSame(await this.get(report.key), report);
  }

  async update(report: KeptReport): Promise<boolean> {
    return this.write(report, (kept) => isSame(kept, report));
  }

  private async write(report: KeptReport, isWanted: (kept: KeptReport | undefined) => boolean): Promise<boolean> {
    if (this.isForgotten) return false;
    try {
      const writing = this.database.transaction(REPORTS, "readwrite", { durability: "strict" });
      const isWritten = isWanted(await writing.store.get(report.key));
      await Promise.all([isWritten ? writing.store.put(report) : undefined, writing.done]);
      return isWritten;
    } catch (error) {
      if ((error as DOMException | null)?.name === "QuotaExceededError") throw new StorageFull();
      throw error;
    }
  }

  async remove(key: string): Promise<void> {
    if (!this.isForgotten) await this.database.delete(REPORTS, key);
  }

  async clear(): Promise<void> {
    if (!this.isForgotten) await this.database.clear(REPORTS);
  }
}

/** The sender works on a copy: what it read is there as long as nobody saved anew. */
function isSame(kept: KeptReport | undefined, report: KeptReport): boolean {
  return kept?.state === "waiting" && kept.savedAt === report.savedAt;
}

export class MemoryStore implements Store {
  readonly isLasting = false;
  private readonly kept = new Map<string, KeptReport>();

  all(): Promise<KeptReport[]> {
    return Promise.resolve([...this.kept.values()]);
  }

  get(key: string): Promise<KeptReport | undefined> {
    return Promise.resolve(this.kept.get(key));
  }

  put(report: KeptReport): Promise<void> {
    this.kept.set(report.key, report);
    return Promise.resolve();
  }

  /** Here the sender works on what is kept itself. */
  waits(report: KeptReport): Promise<boolean> {
    return Promise.resolve(this.kept.get(report.key) === report);
  }

  update(report: KeptReport): Promise<boolean> {
    return this.waits(report);
  }

  remove(key: string): Promise<void> {
    this.kept.delete(key);
    return Promise.resolve();
  }

  clear(): Promise<void> {
    this.kept.clear();
    return Promise.resolve();
  }
}
