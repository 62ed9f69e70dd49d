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
 * First line, from the keeper:
 *   {"hello":{"name","state","pid","cgroup_id","cgroup","uid","cmd":[…],"cwd",
 *             "origin","flags":["detached","standby"],"data":[…],"since"}}
 *   state: "starting" "running" "frozen" "waiting" (for an image) "restored"
 *          (stopped, before "go") "moved" (only relays stdio) "exited"
 * Then requests {"id":N,"op":OP,…}, answers {"id":N,"ok":{…}} or
 * {"id":N,"error","code","remedy"}, and events {"event":{"kind":…,…}}.
 *
 *   op        fields                  what
 *   go        -                       starting -> running: the name is ours; {"pid"} of the root process
 *   say       text                    one line to the user (stderr of a foreground supervisor, else the log)
 *   check     -                       what stands against a move: {"refusals":[{reason,fd,path,pid,remedy}]}
 *   signal    sig                     to the application
 *   dump      dir                     freeze, write images; leaves it stopped. {"frozen_at_ms","bytes","sockets"}
 *   send      dir + fd                write the images to a stream (and stdio left in pipes)
 *   recv      dir + fd                read them from a stream; {"bytes"}
 *   restore   dir, criu               up to stopped-before-run; answer when there (state restored)
 *   resume    -                       let the restored run; answer when it runs
 *   thaw      -                       after a committed abort: let the dumped run on
 *   discard   -                       after a flip (source) or abort (target): end it without
 *                                     a packet leaving, remove images
 *   stdio     + fd                    relay fds 0-2 over this stream from now on
 *   moved     node + fd               (source, foreground) the application lives on `node`;
 *                                     relay this supervisor's stdio over the stream
 *   logs      lines                   {"lines":[…]} of a detached application
 *   event kinds: "exited" {"status"|"signal"}, "progress" {"what","bytes","of"},
 *   "signal" {"sig"} (a moved supervisor was signalled: pass it on), "stdio-lost"
 *
 * Stdio frames on a stream: be32 length | u8 channel (0 stdin, 1 stdout,
 * 2 stderr, 3 stdin closed, 4 exit status as be32 wait status), payload.
 */
#ifndef SSI_KEEPER_H
#define SSI_KEEPER_H

#define KEEPER_DIR "/run/netssi/apps"

#endif
