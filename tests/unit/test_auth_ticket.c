/* auth: a ticket is good once, for a while, for one service. */
#include "check.h"

#include <string.h>

#include "auth/auth_ticket.h"

#define SECOND	UINT64_C(1000000)

static struct addr
login(const char *text)
{
	struct addr a;

	assert_true(addr_parse(slice_of(text), &a));
	return a;
}

static void
once(void **unused)
{
	struct auth_tickets *t = auth_tickets_new(4);
	const struct addr alice = login("alice@a.test"), bob = login("bob@a.test");
	unsigned char a[TICKET_OCTETS], b[TICKET_OCTETS];
	struct addr who;

	(void)unused;
	assert_true(auth_ticket_issue(t, SLICE("imap"), &alice, 1, a));
	assert_true(auth_ticket_issue(t, SLICE("imap"), &bob, 1, b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_true(auth_ticket_redeem(t, SLICE("imap"), slice_make(a, sizeof(a)), 2, &who));
	assert_true(addr_same(&who, &alice));
	assert_false(auth_ticket_redeem(t, SLICE("imap"), slice_make(a, sizeof(a)), 2, &who));
	assert_true(auth_ticket_redeem(t, SLICE("imap"), slice_make(b, sizeof(b)), 2, &who));
	assert_true(addr_same(&who, &bob));
	assert_int_equal(auth_tickets_out(t, 2), 0);
	auth_tickets_free(t);
}

static void
only_its_service(void **unused)
{
	struct auth_tickets *t = auth_tickets_new(4);
	const struct addr alice = login("alice@a.test");
	unsigned char a[TICKET_OCTETS];
	struct addr who;

	(void)unused;
	assert_true(auth_ticket_issue(t, SLICE("imap"), &alice, 1, a));
	assert_false(auth_ticket_redeem(t, SLICE("pop3"), slice_make(a, sizeof(a)), 2, &who));
	/* The try has used it up. */
	assert_false(auth_ticket_redeem(t, SLICE("imap"), slice_make(a, sizeof(a)), 2, &who));
	auth_tickets_free(t);
}

static void
only_a_while(void **unused)
{
	static const struct { uint64_t usec; bool good; } row[] = {
		{ 0, true }, { TICKET_SECONDS * SECOND - 1, true }, { TICKET_SECONDS * SECOND, false },
		{ 1000 * TICKET_SECONDS * SECOND, false },
	};
	struct auth_tickets *t = auth_tickets_new(4);
	const struct addr alice = login("alice@a.test");
	struct addr who;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		unsigned char a[TICKET_OCTETS];

		assert_true(auth_ticket_issue(t, SLICE("imap"), &alice, 5, a));
		check_row(i, auth_ticket_redeem(t, SLICE("imap"), slice_make(a, sizeof(a)), 5 + row[i].usec, &who) == row[i].good);
	}
	auth_tickets_free(t);
}

static void
nothing_else(void **unused)
{
	struct auth_tickets *t = auth_tickets_new(4);
	const struct addr alice = login("alice@a.test");
	unsigned char a[TICKET_OCTETS], zero[TICKET_OCTETS] = { 0 };
	struct addr who;

	(void)unused;
	assert_false(auth_ticket_redeem(t, SLICE("imap"), slice_make(zero, sizeof(zero)), 2, &who));
	assert_true(auth_ticket_issue(t, SLICE("imap"), &alice, 1, a));
	for (size_t len = 0; len < TICKET_OCTETS; len++)
		assert_false(auth_ticket_redeem(t, SLICE("imap"), slice_make(a, len), 2, &who));
	a[3] ^= 1;
	assert_false(auth_ticket_redeem(t, SLICE("imap"), slice_make(a, sizeof(a)), 2, &who));
	auth_tickets_free(t);
}

/* No more than there is room for; old ones make room. */
static void
bounded(void **unused)
{
	struct auth_tickets *t = auth_tickets_new(3);
	const struct addr alice = login("alice@a.test");
	unsigned char a[TICKET_OCTETS];

	(void)unused;
	for (int i = 0; i < 3; i++)
		assert_true(auth_ticket_issue(t, SLICE("imap"), &alice, 1, a));
	assert_false(auth_ticket_issue(t, SLICE("imap"), &alice, 1, a));
	assert_false(auth_ticket_issue(t, SLICE("a service of long name"), &alice, 1, a));
	assert_int_equal(auth_tickets_out(t, 1), 3);
	assert_true(auth_ticket_issue(t, SLICE("imap"), &alice, 1 + TICKET_SECONDS * SECOND, a));
	assert_int_equal(auth_tickets_out(t, 1 + TICKET_SECONDS * SECOND), 1);
	auth_tickets_free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(once),
		cmocka_unit_test(only_its_service),
		cmocka_unit_test(only_a_while),
		cmocka_unit_test(nothing_else),
		cmocka_unit_test(bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
