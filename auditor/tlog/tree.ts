/** The Merkle tree of RFC 6962, section 2.1, over hashes that somebody else keeps. Pure; sizes and indexes are exact up to 2^53. */
import { EMPTY_ROOT, nodeHash } from "./hash.ts";

/** Hash of the full subtree over the entries `[index * 2^height, (index + 1) * 2^height)`. */
export type Subtrees = (height: number, index: number) => Uint8Array;

/** Root of the tree of the first `size` entries. @throws what `subtrees` throws. */
export function rootOf(size: number, subtrees: Subtrees): Uint8Array {
  return size === 0 ? EMPTY_ROOT : rangeHash(0, size, subtrees);
}

/** Audit path of entry `index`, from its sibling to the root's child. `0 <= index < size`. */
export function inclusionProof(index: number, size: number, subtrees: Subtrees): Uint8Array[] {
  const path: Uint8Array[] = [];
  let [low, high] = [0, size];
  while (high - low > 1) {
    const middle = low + largestPowerBelow(high - low);
    if (index < middle) {
      path.push(rangeHash(middle, high, subtrees));
      high = middle;
    } else {
      path.push(rangeHash(low, middle, subtrees));
      low = middle;
    }
  }
  return path.reverse();
}

/** Proof that the tree of `oldSize` entries is the beginning of that of `size`. `1 <= oldSize <= size`. */
export function consistencyProof(oldSize: number, size: number, subtrees: Subtrees): Uint8Array[] {
  const path: Uint8Array[] = [];
  let [low, high] = [0, size];
  // The old root itself is left out while it is one subtree of the new tree: the verifier has it.
  while (high !== oldSize) {
    const middle = low + largestPowerBelow(high - low);
    if (oldSize <= middle) {
      path.push(rangeHash(middle, high, subtrees));
      high = middle;
    } else {
      path.push(rangeHash(low, middle, subtrees));
      low = middle;
    }
  }
  if (low > 0) path.push(rangeHash(low, high, subtrees));
  return path.reverse();
}

/** The root that an audit path leads to from a leaf; undefined when the path has not the length that index and size ask for. */
export function rootByInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
): Uint8Array | undefined {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return undefined;
  const sides: ("left" | "right")[] = [];
  let [low, high] = [0, size];
  while (high - low > 1) {
    const middle = low + largestPowerBelow(high - low);
    sides.push(index < middle ? "right" : "left");
    if (index < middle) high = middle;
    else low = middle;
  }
  if (proof.length !== sides.length) return undefined;
  return proof.reduce((sum, hash) => (sides.pop() === "right" ? nodeHash(sum, hash) : nodeHash(hash, sum)), leaf);
}

/** Whether `proof` shows that the tree `oldRoot` is the beginning of the tree `root`. An empty tree is the beginning of any. */
export function isConsistent(
  old: { size: number; root: Uint8Array },
  now: { size: number; root: Uint8Array },
  proof: readonly Uint8Array[],
): boolean {
  if (old.size === 0) return proof.length === 0 && same(old.root, EMPTY_ROOT);
  if (old.size > now.size) return false;
  const sides: ("left" | "right")[] = [];
  let [low, high] = [0, now.size];
  while (high !== old.size) {
    const middle = low + largestPowerBelow(high - low);
    sides.push(old.size <= middle ? "right" : "left");
    if (old.size <= middle) high = middle;
    else low = middle;
  }
  const [first, ...rest] = low > 0 ? proof : [old.root, ...proof];
  if (first === undefined || rest.length !== sides.length) return false;
  let [oldSum, sum] = [first, first];
  for (const hash of rest) {
    // What stands left of the split is in both trees; what stands right of it only in the new one.
    if (sides.pop() === "left") [oldSum, sum] = [nodeHash(hash, oldSum), nodeHash(hash, sum)];
    else sum = nodeHash(sum, hash);
  }
  return same(oldSum, old.root) && same(sum, now.root);
}

/** Root of a perfect tree over these hashes, whose number is a power of two. */
export function perfectRoot(hashes: readonly Uint8Array[]): Uint8Array {
  const [first = EMPTY_ROOT] = hashes;
  const half = hashes.length / 2;
  return half < 1 ? first : nodeHash(perfectRoot(hashes.slice(0, half)), perfectRoot(hashes.slice(half)));
}

/** Whether two hashes are the same. They are public: no constant time is needed. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Hash of the entries `[low, high)`; `low` must be a multiple of the largest power of two in the range. */
function rangeHash(low: number, high: number, subtrees: Subtrees): Uint8Array {
  const size = high - low;
  const half = largestPowerBelow(size);
  if (size === 1 || half * 2 === size) return subtrees(Math.round(Math.log2(size)), low / size);
  return nodeHash(rangeHash(low, low + half, subtrees), rangeHash(low + half, high, subtrees));
}

/** The largest power of two below `size`: where RFC 6962 splits a tree. */
function largestPowerBelow(size: number): number {
  let power = 1;
  while (power * 2 < size) power *= 2;
  return power;
}
