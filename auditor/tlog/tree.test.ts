import fc from "fast-check";
import { expect, test } from "vitest";
import { EMPTY_ROOT, leafHash, nodeHash } from "./hash.ts";
import {
  consistencyProof,
  inclusionProof,
  isConsistent,
  perfectRoot,
  rootByInclusion,
  rootOf,
  type Subtrees,
} from "./tree.ts";

/** The tree of RFC 6962, section 2.1, word for word. */
function naive(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return EMPTY_ROOT;
  if (leaves.length === 1) return leaves[0]!;
  const k = 2 ** Math.floor(Math.log2(leaves.length - 1));
  return nodeHash(naive(leaves.slice(0, k)), naive(leaves.slice(k)));
}

const over =
  (leaves: readonly Uint8Array[]): Subtrees =>
  (height, index) =>
    perfectRoot(leaves.slice(index * 2 ** height, (index + 1) * 2 ** height));
const leavesOf = (size: number) => Array.from({ length: size }, (_, i) => leafHash(Buffer.from(`entry ${i}`)));
const hex = (hash: Uint8Array) => Buffer.from(hash).toString("hex");

// Inputs and roots of the reference tree, testonly/constants.go of github.com/transparency-dev/merkle.
const INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS = [
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

test("the roots of the reference tree come out, at each size", () => {
  const leaves = INPUTS.map((input) => leafHash(Buffer.from(input, "hex")));
  expect(ROOTS.map((_, size) => hex(rootOf(size, over(leaves))))).toEqual(ROOTS);
  // The path of leaf 1 in the tree of 8, from the same source.
  expect(inclusionProof(1, 8, over(leaves)).map(hex)).toEqual([
    ROOTS[1],
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
  ]);
});

const sizes = fc.integer({ min: 1, max: 600 });

test("roots and audit paths are those of the naive tree, whatever the size", () => {
  fc.assert(
    fc.property(sizes, fc.nat(), (size, chance) => {
      const leaves = leavesOf(size);
      const index = chance % size;
      const root = naive(leaves);
      expect(rootOf(size, over(leaves))).toEqual(root);
      expect(rootByInclusion(leaves[index]!, index, size, inclusionProof(index, size, over(leaves)))).toEqual(root);
    }),
    { numRuns: 60 },
  );
});

test("an audit path proves no other leaf, index or size, and not when a hash of it is changed, lost or doubled", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 200 }), fc.nat(), fc.nat(), (size, chance, other) => {
      const leaves = leavesOf(size);
      const index = chance % size;
      const wrong = (index + 1 + (other % (size - 1))) % size;
      const path = inclusionProof(index, size, over(leaves));
      const root = rootOf(size, over(leaves));
      const lead = (leaf: Uint8Array, at: number, of: number, hashes: Uint8Array[]) => {
        const found = rootByInclusion(leaf, at, of, hashes);
        return found !== undefined && hex(found) === hex(root);
      };
      expect(lead(leaves[wrong]!, index, size, path)).toBe(false);
      expect(lead(leaves[index]!, wrong, size, path)).toBe(false);
      expect(lead(leaves[index]!, index, size, path.slice(1))).toBe(false);
      expect(lead(leaves[index]!, index, size, [...path, path[0]!])).toBe(false);
      expect(lead(leaves[index]!, index, size, path.with(other % path.length, EMPTY_ROOT))).toBe(false);
      for (const bad of [-1, size, 1.5, Number.NaN]) expect(lead(leaves[index]!, bad, size, path)).toBe(false);
    }),
    { numRuns: 60 },
  );
});

test("each tree is proved to be the beginning of each later one, and of no tree with an entry changed", () => {
  fc.assert(
    fc.property(sizes, fc.nat(), fc.nat(), (size, chance, other) => {
      const leaves = leavesOf(size);
      const oldSize = 1 + (chance % size);
      const old = { size: oldSize, root: naive(leaves.slice(0, oldSize)) };
      const now = { size, root: naive(leaves) };
      const proof = consistencyProof(oldSize, size, over(leaves));
      expect(isConsistent(old, now, proof)).toBe(true);
      const forked = leaves.with(other % oldSize, EMPTY_ROOT);
      const fork = { size, root: naive(forked) };
      expect(isConsistent(old, fork, consistencyProof(oldSize, size, over(forked)))).toBe(false);
      expect(isConsistent(old, fork, proof)).toBe(false);
      expect(isConsistent(old, now, [...proof, EMPTY_ROOT])).toBe(false);
      const [, ...rest] = proof;
      const changed = proof.map((hash, i) => (i === other % proof.length ? EMPTY_ROOT : hash));
      // A tree that is proved without a hash is the same tree.
      expect([isConsistent(old, now, rest), isConsistent(old, now, changed)]).toEqual(
        proof.length === 0 ? [true, true] : [false, false],
      );
      expect(isConsistent({ ...old, size: size + 1 }, now, proof)).toBe(false);
    }),
    { numRuns: 60 },
  );
});

test("an empty tree is the beginning of every tree, without a proof", () => {
  const now = { size: 3, root: naive(leavesOf(3)) };
  expect(isConsistent({ size: 0, root: EMPTY_ROOT }, now, [])).toBe(true);
  expect(isConsistent({ size: 0, root: EMPTY_ROOT }, now, [EMPTY_ROOT])).toBe(false);
  expect(isConsistent({ size: 0, root: now.root }, now, [])).toBe(false);
});
