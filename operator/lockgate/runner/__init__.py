"""What runs inside the user's image: applies the migrations, reports, and never talks to the cluster."""
