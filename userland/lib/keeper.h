/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The keeper: the part of ssi-run that holds one application on one node (its
 * namespaces, its stdio, its control group). It listens on
 * /run/netssi/apps/NAME and talks JSON lines (lib/jsonline.h) with netd, which
 * may go away and come back; an application outlives netd.
 *
 * The keeper binds and listens under a name that starts with '.', then renames
 * the socket into place: what appears there answers.
 *
 * The socket of a supervisor that waits as --standby is NAME@; on `go` it becomes
 * NAME, and the connection by which `go` came ends after the answer.
 *
 * First line, from the keeper:
 *   {"hello":{"name","state","pid","main","cgroup_id","cgroup","uid","gid","cmd":[…],
 *             "cwd","origin","flags":["detached","standby","ipc-host","source-node"],"data":[…],"since","rounds","early"}}
 *   name: that of the socket. pid: the root process, main: CMD itself; on this
 *   node, 0 while there is none. cgroup: below the cgroup2 mount. since: Unix ms.
 *   rounds: true, it knows `round`. early: true, its `dump` takes the stream.
 *   state: "starting" "running" "paused" (by pause) "frozen" (by dump) "waiting" (for an image)
 *          "restored" (stopped, before resume) "moved" (only relays stdio) "exited"
 * Then requests {"id":N,"op":OP,…}, answers {"id":N,"ok":{"state",…}} or
 * {"id":N,"error","code","remedy"}, and events {"event":{"kind":…,…}}. Every "ok"
 * has the state after it.
 *
 * A request that an fd comes with says so: "fd": true.
 *
 *   op        fields                  what
 *   prepare   -                       (starting, standby) make the control group: {"cgroup","cgroup_id"}
 *   go        node                    starting -> running: the name is ours; {"pid","main"}. node: our name
 *   say       text                    one line to the user (stderr of a foreground supervisor, else the log)
 *   check     -                       what stands against a move: {"refusals":[{reason,fd,path,pid,remedy}],
 *                                     "files":{PATH:{size,grows}}}: what it uses must be on the target;
 *                                     "memory": bytes; "tracks": its changes can be told, rounds are possible;
 *                                     "notices": how many of its processes want to hear of it (lib/notice.h)
 *   signal    sig                     to the application
 *   round     dir, criu, rounds, memory + fd  (running) send memory and the data directories to a stream, memory
 *                                     only if so said; rounds: how many there were before; only what changed
 *                                     since is sent. {"bytes"}. All of a move name the
 *                                     same dir. `dump`, with their number, or `thaw` ends it, or 60 s
 *   ready     dir, criu, rounds?      (running) start CRIU, so that a dump to dir freezes at once. May be left
 *                                     out. `dump` or `thaw` ends it, or 30 s
 *                                     queues: both nodes can make connections that wait for accept()
 *   dump      dir, criu, close, rounds? freeze, write images, keep it frozen. {"frozen_at_ms","bytes","sockets"}
 *                                     close: without TCP connections, for a checkpoint. + fd: the stream of
 *                                     `send`, to which all but the end is written as soon as it is there
 *   send      dir + fd                write the images to a stream; answers when the other end has them all.
 *                                     Without fd: the end of what `dump` had a stream for
 *   recv      dir, criu + fd          read them from a stream; {"bytes"}. Also in state moved: it comes home.
 *                                     criu, which may be left out, is started meanwhile. rounds: came before;
 *                                     more: this is another one, and not the end
 *   restore   dir, criu, connect?     up to stopped-before-run; connect: of a checkpoint, with its connections; {"pid","main","cgroup_id"} (state restored)
 *   resume    node?                   let the restored run; answer when it runs. node: our name, for its processes
 *   thaw      -                       after a committed abort: let the dumped run on
 *   discard   -                       after a flip (source) or abort (target): end it without
 *                                     a packet leaving, remove images. A foreground supervisor stays
 *                                     (state moved), every other keeper ends after the answer
 *   stdio     + fd                    relay fds 0-2 over this stream from now on; without fd: to the log
 *   moved     node + fd               (source, foreground) the application lives on `node`;
 *                                     relay this supervisor's stdio over the stream
 *   lost      text                    (moved) the application is no more; tells the user, ends with 125
 *   place     dir                     is the directory fit for a checkpoint? {"number"}: of the next
 *   seal      to, about               (dumped) the images are complete: they become the checkpoint `to`; {"bytes"}
 *   load      from, dir               (waiting) copy a checkpoint to dir, for `restore`; {"bytes"}
 *   pause     -                       (running) stand still, connections and all: state paused
 *   unpause   -                       go on
 *   notice    what, node, limit_ms    (running) tell its processes what is soon to come: "moving" to that node, or
 *                                     "saving", and wait for each that wants to get ready, so long at most.
 *                                     {"told","ready","ms"}. `thaw`, or a dump that fails, takes it back
 *   handover  node, text              (moved) the application goes on without this supervisor, which ends with 0
 *   logs      lines                   {"lines":[…]} of a detached application
 *   event kinds: "exited" {"status"|"signal"}, "unpaused" (it was told to end), "progress" {"what","bytes","of"},
 *   "signal" {"sig"} (a moved supervisor without stream was signalled: pass it on),
 *   "stdio-lost" (the stream broke: send `stdio` and `moved` with a new one)
 *
 * One of round, ready, dump, send, recv, restore, resume, thaw at a time. An operation that
 * fails leaves the state as it was before, except after `resume`.
 *
 * Stdio frames on a stream: be32 length of the payload | u8 kind | payload, kinds
 * below. Each end begins with KEEPER_FRAME_HAVE and sends nothing else before it
 * has the other's: so a stream can be replaced and no byte is lost or doubled.
 */
#ifndef SSI_KEEPER_H
#define SSI_KEEPER_H

#define KEEPER_DIR	    "/run/netssi/apps"
#define KEEPER_FROZEN_GROUP "frozen" /* below the control group, while it is paused */

enum keeper_frame {
	KEEPER_FRAME_STDIN = 0, /* data of fds 0 to 2 */
	KEEPER_FRAME_STDOUT = 1,
	KEEPER_FRAME_STDERR = 2,
	KEEPER_FRAME_STDIN_END = 3,
	KEEPER_FRAME_EXIT = 4,	 /* be32 wait status, after all data */
	KEEPER_FRAME_HAVE = 5,	 /* be64 for each of fds 0 to 2: bytes received so far */
	KEEPER_FRAME_ACK = 6,	 /* u8 fd, be64 bytes received so far */
	KEEPER_FRAME_SIGNAL = 7, /* be32 signal number for the application */
	KEEPER_FRAME_NOTIFY = 8, /* an sd_notify message of the application */
	KEEPER_FRAME_CLOSED = 9, /* u8 fd: nobody reads it any more */
};

#endif
