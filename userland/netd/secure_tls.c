// SPDX-License-Identifier: GPL-2.0
/*
 * TLS 1.3 with an external pre-shared key, by OpenSSL on the nonblocking
 * socket. No certificates: a handshake without the key cannot succeed, in
 * either role. Keys are separated from other uses of the same secret.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "secure_int.h"

static const char key_label[] = "netssi tls psk 1";
static const unsigned char cipher_id[2] = {0x13, 0x01}; /* TLS_AES_128_GCM_SHA256 */

/* The PSK as a session that OpenSSL resumes. */
static SSL_SESSION *psk_session(SSL *ssl, const uint8_t key[SECURE_KEY_BYTES])
{
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, cipher_id);
	SSL_SESSION *sess = SSL_SESSION_new();
	unsigned char psk[SHA256_DIGEST_LENGTH], input[sizeof(key_label) + SECURE_KEY_BYTES];

	memcpy(input, key_label, sizeof(key_label));
	memcpy(input + sizeof(key_label), key, SECURE_KEY_BYTES);
	SHA256(input, sizeof(input), psk);
	if (!sess || !cipher || !SSL_SESSION_set1_master_key(sess, psk, sizeof(psk)) ||
	    !SSL_SESSION_set_cipher(sess, cipher) ||
	    !SSL_SESSION_set_protocol_version(sess, TLS1_3_VERSION)) {
		SSL_SESSION_free(sess);
		sess = NULL;
	}
	OPENSSL_cleanse(psk, sizeof(psk));
	OPENSSL_cleanse(input, sizeof(input));
	return sess;
}

static int use_psk(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_len, SSL_SESSION **sess)
{
	struct secure_conn *c = SSL_get_app_data(ssl);

	(void)md;
	*sess = psk_session(ssl, c->key);
	*id = (const unsigned char *)c->identity;
	*id_len = strlen(c->identity);
	return *sess != NULL;
}

static int find_psk(SSL *ssl, const unsigned char *id, size_t id_len, SSL_SESSION **sess)
{
	struct secure_conn *c = SSL_get_app_data(ssl);
	int r;

	*sess = NULL;
	if (!id_len || id_len >= sizeof(c->identity))
		return 1;
	for (size_t i = 0; i < id_len; i++)
		c->identity[i] = id[i] > ' ' && id[i] < 0x7f ? (char)id[i] : '?';
	c->identity[id_len] = 0;
	r = c->secure->find_key(c->secure->arg, c->identity, c->key);
	c->expired = r == -EKEYEXPIRED;
	if (r < 0)
		return 1;
	*sess = psk_session(ssl, c->key);
	return *sess != NULL;
}

static SSL_CTX *make_ctx(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx)
		return NULL;
	if (!SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") || !SSL_CTX_set_num_tickets(ctx, 0)) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	/* A record's head and body by one call of the kernel. */
	SSL_CTX_set_read_ahead(ctx, 1);
	/* A server that would rather show a certificate is refused. */
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return ctx;
}

int secure_tls_init(struct secure *s)
{
	s->client_ctx = make_ctx(TLS_client_method());
	s->server_ctx = make_ctx(TLS_server_method());
	if (!s->client_ctx || !s->server_ctx) {
		secure_tls_exit(s);
		return -ENOMEM;
	}
	SSL_CTX_set_verify(s->server_ctx, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_psk_use_session_callback(s->client_ctx, use_psk);
	SSL_CTX_set_psk_find_session_callback(s->server_ctx, find_psk);
	return 0;
}

void secure_tls_exit(struct secure *s)
{
	SSL_CTX_free(s->client_ctx);
	SSL_CTX_free(s->server_ctx);
}

static int make_ssl(struct secure_conn *c, SSL_CTX *ctx)
{
	c->ssl = SSL_new(ctx);
	if (!c->ssl || !SSL_set_fd(c->ssl, c->net_fd))
		return -ENOMEM;
	SSL_set_app_data(c->ssl, c);
	return 0;
}

int secure_tls_client(struct secure_conn *c, const uint8_t *key)
{
	int r = make_ssl(c, c->secure->client_ctx);

	if (r < 0)
		return r;
	SSL_set_connect_state(c->ssl);
	if (key)
		memcpy(c->key, key, sizeof(c->key));
	else
		r = c->secure->find_key(c->secure->arg, c->identity, c->key);
	return r;
}

int secure_tls_server(struct secure_conn *c)
{
	int r = make_ssl(c, c->secure->server_ctx);

	if (!r)
		SSL_set_accept_state(c->ssl);
	return r;
}

void secure_tls_free(struct secure_conn *c)
{
	SSL_free(c->ssl);
	c->ssl = NULL;
	OPENSSL_cleanse(c->key, sizeof(c->key));
}

static int tls_error(struct secure_conn *c, int ret)
{
	int saved = errno;

	c->want_write = false;
	switch (SSL_get_error(c->ssl, ret)) {
	case SSL_ERROR_WANT_WRITE:
		c->want_write = true;
		return -EAGAIN;
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return saved ? -saved : -ECONNRESET;
	default:
		return -EPROTO;
	}
}

/* An alert of the server that says: not with this secret. */
static bool is_refusal(int reason)
{
	switch (reason) {
	case SSL_R_TLSV1_ALERT_DECRYPT_ERROR: /* another key under that name */
	case SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER:
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE: /* it knows no such name */
	case SSL_R_TLSV1_ALERT_UNKNOWN_PSK_IDENTITY:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
		return true;
	default:
		return false;
	}
}

/* What went wrong in a handshake: the secret, the line, or was it no TLS at all? */
static int handshake_error(struct secure_conn *c, int r)
{
	unsigned long e = ERR_peek_last_error();
	int reason = ERR_GET_LIB(e) == ERR_LIB_SSL ? ERR_GET_REASON(e) : 0;

	if (r != -EPROTO)
		return r ? r : -ECONNRESET;
	if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return -ECONNRESET;
	if (c->server)
		return c->identity[0] ? -EACCES : -EPROTO;
	return is_refusal(reason) ? -EACCES : -EPROTO;
}

int secure_tls_handshake(struct secure_conn *c)
{
	int ret, r;

	ERR_clear_error();
	errno = 0;
	ret = SSL_do_handshake(c->ssl);
	if (ret != 1) {
		r = tls_error(c, ret);
		return r == -EAGAIN ? 0 : handshake_error(c, r);
	}
	/* Without the key there is no session to resume. */
	return SSL_session_reused(c->ssl) ? 1 : -EACCES;
}

void secure_tls_shutdown(struct secure_conn *c)
{
	if (c->sent_eof)
		return;
	c->sent_eof = true;
	ERR_clear_error();
	if (c->ssl)
		SSL_shutdown(c->ssl);
	else
		shutdown(c->net_fd, SHUT_WR);
}

ssize_t secure_net_read(struct secure_conn *c, void *buf, size_t len)
{
	/* A write that waits for room goes on waiting, whatever the read says. */
	bool waits = c->want_write && c->out.len;
	ssize_t n;

	errno = 0;
	if (!c->ssl) {
		n = read(c->net_fd, buf, len);
		return n < 0 ? -errno : n;
	}
	ERR_clear_error();
	n = SSL_read(c->ssl, buf, (int)len);
	n = n > 0 ? n : tls_error(c, (int)n);
	c->want_write |= waits;
	return n;
}

bool secure_net_has_more(const struct secure_conn *c)
{
	return c->ssl && SSL_has_pending(c->ssl);
}

ssize_t secure_net_write(struct secure_conn *c, const void *buf, size_t len)
{
	ssize_t n;

	errno = 0;
	if (!c->ssl) {
		n = send(c->net_fd, buf, len, MSG_NOSIGNAL);
		c->want_write = n < 0 && errno == EAGAIN;
		return n < 0 ? -errno : n;
	}
	ERR_clear_error();
	n = SSL_write(c->ssl, buf, (int)len);
	if (n > 0) {
		c->want_write = false;
		return n;
	}
	n = tls_error(c, (int)n);
	return n ? n : -EPIPE;
}
