package postgres

import "strconv"

// A change stamp is made of the id of the transaction that made the change, as
// xid8, which does not wrap around:
//
//	stamp = 2 × (id + offset)
//
// Ids are given out when a transaction first writes, and transactions end in
// another order. What can be relied on is a snapshot's xmin: every transaction
// below it has ended, and what it wrote is in the snapshot if it was committed;
// whatever comes later has an id of xmin or above. Neither a sequence nor a time
// has such a point.
//
// That holds until the server crashes. Then ids are given out again that were
// used by transactions of which nothing had reached the disk, also below an xmin
// that somebody has seen. But no id is given out again that is not above all
// that were committed. So each transaction also notes its stamp in the row of its
// process in the table writers, and
//
//	LastStamp = the lesser of 2 × (xmin + offset) - 2 and the newest noted stamp
//
// is the newest stamp at or below which nothing can appear any more, on any
// number of nodes, whatever happens. And it stays where it is while nothing
// changes, although other transactions of the cluster move xmin.
//
// A snapshot also shows changes above it, made by transactions that overtook one
// that is under way. Where they will stand among what is yet to come nobody
// knows, so that no position may lie between them: ChangedChats gives all of
// them the odd number LastStamp + 1, which no transaction has, by ascending
// chat. A page may end among them. If nothing is under way any more when the next
// page is read, they have their own stamps, above that number, and are told again.
//
// xmin is that of the whole cluster: a transaction that writes in any of its
// databases, and stays open, keeps everything above it from being final. Then
// syncs tell the same chats again, and none is lost. Ours are ended by the server
// after idleInTransaction.
//
// The offset is for a history that was restored into another cluster, whose ids
// may be lower: it is chosen so that the next stamps are above all that are in
// the rows. Such a history has a new epoch, and so no old cursors.

// stampOf is the stamp of what the transaction with this id writes.
func stampOf(id, offset int64) int64 { return 2 * (id + offset) }

// lastStampSQL is LastStamp of the snapshot, given the parameter's number for
// the offset.
func lastStampSQL(offset int) string {
	return `LEAST(2 * (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + $` + strconv.Itoa(offset) + `::bigint) - 2,
(SELECT max(stamp) FROM writers))`
}
