// Checks a log folder of Tiermesh's auditor with Go's own transparency log packages, and with nothing of ours.
//
//	tlog FOLDER VERIFIER-KEY [OLD-CHECKPOINT ...]
//	tlog -cosigned CHECKPOINT WITNESS-KEY ...
//
// The second prints how many of these witnesses have cosigned a checkpoint (cosignature.go).
// It opens the checkpoint by the key, reads every hash and every entry through the tiles up to the root, proves each entry
// by its own audit path, and that an older checkpoint is a beginning of the log. It prints "ok SIZE", or says why not and
// ends with 1.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Levels of the tree in one tile (c2sp.org/tlog-tiles).
const height = 8

// tiles reads tiles from a folder. Go's paths have the height in them, C2SP's do not: tile/8/0/000 is tile/0/000.
type tiles struct {
	folder string
	seen   map[tlog.Tile][]byte
}

func (t tiles) Height() int { return height }

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		if data, ok := t.seen[tile]; ok {
			all = append(all, data)
			continue
		}
		data, err := read(t.folder, tile)
		if err != nil {
			return nil, err
		}
		if tile.L >= 0 && len(data) >= tile.W*tlog.HashSize {
			data = data[:tile.W*tlog.HashSize]
		}
		t.seen[tile] = data
		all = append(all, data)
	}
	return all, nil
}

// read reads a tile, or the full one that took a partial one's place.
func read(folder string, tile tlog.Tile) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(folder, path(tile)))
	if os.IsNotExist(err) && tile.W < 1<<height {
		tile.W = 1 << height
		return os.ReadFile(filepath.Join(folder, path(tile)))
	}
	return data, err
}

func path(tile tlog.Tile) string {
	p := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	return strings.Replace(p, "tile/data/", "tile/entries/", 1)
}

// minimum is the index of the first entry of a pruned log, a multiple of 256; 0 if the log says nothing of it.
func minimum(folder string) (int64, error) {
	data, err := os.ReadFile(filepath.Join(folder, "minimum-index"))
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}

func entries(folder string, first, size int64) ([][]byte, error) {
	var all [][]byte
	for n := first >> height; n<<height < size; n++ {
		tile := tlog.Tile{H: height, L: -1, N: n, W: int(min(size-n<<height, 1<<height))}
		data, err := read(folder, tile)
		if err != nil {
			return nil, err
		}
		for i := 0; i < tile.W; i++ {
			if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
				return nil, fmt.Errorf("%s ends within an entry", path(tile))
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			all = append(all, data[2:end])
			data = data[end:]
		}
	}
	return all, nil
}

// open reads a checkpoint: ours begins with an origin of our own, not with Go's "go.sum database tree".
func open(file, key string) (tlog.Tree, error) {
	msg, err := os.ReadFile(file)
	if err != nil {
		return tlog.Tree{}, err
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(msg, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("%s is not a checkpoint of %s", file, verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

func verify(folder, key string, old []string) (int64, error) {
	tree, err := open(filepath.Join(folder, "checkpoint"), key)
	if err != nil || tree.N == 0 {
		return 0, err
	}
	first, err := minimum(folder)
	if err != nil {
		return 0, err
	}
	all, err := entries(folder, first, tree.N)
	if err != nil {
		return 0, err
	}
	// This reader checks every tile that it reads up to the signed root.
	hashes := tlog.TileHashReader(tree, tiles{folder, map[tlog.Tile][]byte{}})
	for i, entry := range all {
		n := first + int64(i)
		proof, err := tlog.ProveRecord(tree.N, n, hashes)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, n, tlog.RecordHash(entry)); err != nil {
			return 0, fmt.Errorf("entry %d: %w", n, err)
		}
	}
	for _, file := range old {
		before, err := open(file, key)
		if err != nil {
			return 0, err
		}
		proof, err := tlog.ProveTree(tree.N, before.N, hashes)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, before.N, before.Hash); err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
	}
	return tree.N, nil
}

func main() {
	if len(os.Args) > 3 && os.Args[1] == "-cosigned" {
		msg, err := os.ReadFile(os.Args[2])
		count, failed := cosigned(msg, os.Args[3:])
		if err != nil || failed != nil {
			fmt.Fprintln(os.Stderr, err, failed)
			os.Exit(1)
		}
		fmt.Println("cosigned", count)
		return
	}
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: tlog FOLDER VERIFIER-KEY [OLD-CHECKPOINT ...]")
		os.Exit(2)
	}
	size, err := verify(os.Args[1], os.Args[2], os.Args[3:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ok", size)
}
