// Reads a log by its checkpoint and its tiles with the packages that read Go's checksum database: they know nothing of us.
//
//	go run reader.go http://127.0.0.1:7014/log TOKEN VERIFIER-KEY NUMBER FILE-OF-THE-RECORD
//
// Says "record 7 of 600 is in the log", or why not.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type place struct{ url, token string }

func (p place) get(path string) ([]byte, error) {
	request, err := http.NewRequest("GET", p.url+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+p.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != 200 {
		return nil, fmt.Errorf("%s: %s", path, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// Height, ReadTiles and SaveTiles make a place what tlog reads tiles from. C2SP leaves the height out of the paths.
func (p place) Height() int { return 8 }

func (p place) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := p.get("/" + strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (p place) SaveTiles([]tlog.Tile, [][]byte) {}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	log.SetFlags(0)
	from := place{os.Args[1], os.Args[2]}
	verifier := must(note.NewVerifier(os.Args[3]))
	number := must(strconv.ParseInt(os.Args[4], 10, 64))
	record := must(os.ReadFile(os.Args[5]))

	checkpoint := must(note.Open(must(from.get("/checkpoint")), note.VerifierList(verifier)))
	lines := strings.Split(checkpoint.Text, "\n")
	if lines[0] != verifier.Name() {
		log.Fatal("the checkpoint is of another log")
	}
	tree := tlog.Tree{N: must(strconv.ParseInt(lines[1], 10, 64)), Hash: must(tlog.ParseHash(lines[2]))}
	// It believes no tile that does not lead to the hash of the tree.
	proof := must(tlog.ProveRecord(tree.N, number, tlog.TileHashReader(tree, from)))
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, number, tlog.RecordHash(record)); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("record %d of %d is in the log\n", number, tree.N)
}
